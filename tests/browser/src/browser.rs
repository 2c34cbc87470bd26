//! A headless Chromium: started by Debian's chromedriver, told what to do by `data-testid`.

use crate::chromedriver::Chromedriver;
use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use thirtyfour::prelude::*;
use thirtyfour::{ChromeCapabilities, LoggingPrefsLogLevel};

/// How long an element or a state may take to come; the machine is busy.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const POLL: Duration = Duration::from_millis(100);
/// What a headless browser run by root on a test machine needs.
const ARGUMENTS: [&str; 10] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,860",
];

/// Browsers that are started at most for one session: on a saturated machine Chromium may end before it has begun
/// ("DevToolsActivePort file doesn't exist"), which says nothing about the page.
const STARTS: usize = 3;

/// A browser with one page; it ends with this value.
pub struct Browser {
    pub(crate) driver: WebDriver,
    pub(crate) keys: AtomicBool,
    _chromedriver: Chromedriver,
    downloads: PathBuf,
    pictures: PathBuf,
}

/// A session in a browser of its own.
async fn session(downloads: &Path) -> Result<(Chromedriver, WebDriver)> {
    let mut failed = None;
    for _ in 0..STARTS {
        let (chromedriver, address) = Chromedriver::start()?;
        match WebDriver::new(address, capabilities(downloads)?).await {
            Ok(driver) => return Ok((chromedriver, driver)),
            Err(error) => {
                eprintln!("the browser did not start: {error}");
                failed = Some(error);
            }
        }
    }
    Err(anyhow!("no browser session: {failed:?}"))
}

impl Browser {
    /// Starts chromedriver and a session; downloads go to `downloads`, pictures to `pictures`.
    ///
    /// # Errors
    /// chromedriver is not installed or does not start.
    pub async fn start(downloads: &Path, pictures: &Path) -> Result<Self> {
        std::fs::create_dir_all(downloads)?;
        std::fs::create_dir_all(pictures)?;
        let (chromedriver, driver) = session(downloads).await?;
        Ok(Self {
            driver,
            keys: AtomicBool::new(false),
            _chromedriver: chromedriver,
            downloads: downloads.to_owned(),
            pictures: pictures.to_owned(),
        })
    }

    /// Opens an address.
    ///
    /// # Errors
    /// The page does not load.
    pub async fn open(&self, address: &str) -> Result<()> {
        self.driver.goto(address).await.with_context(|| format!("cannot open {address}"))
    }

    /// The element with this `data-testid`, once it is displayed.
    ///
    /// # Errors
    /// It does not come.
    pub async fn find(&self, testid: &str) -> Result<WebElement> {
        self.select(&css(testid)).await
    }

    /// The first displayed element of a CSS selector.
    ///
    /// # Errors
    /// It does not come.
    pub async fn select(&self, selector: &str) -> Result<WebElement> {
        let query = self.driver.query(By::Css(selector)).wait(PATIENCE, POLL).and_displayed();
        match query.first().await {
            Ok(element) => Ok(element),
            Err(error) => bail!("{selector} did not come: {error}\n{}", self.situation().await),
        }
    }

    /// Clicks the element with this `data-testid` once it can be clicked. The page redraws itself at any moment, so an
    /// element that has just been replaced is looked for again.
    ///
    /// # Errors
    /// It does not come or cannot be clicked.
    pub async fn click(&self, testid: &str) -> Result<()> {
        if self.uses_keys() {
            self.find(testid).await?;
            return self.press_control(testid).await;
        }
        let mut last = None;
        for _ in 0..20 {
            let query = self.driver.query(By::Css(css(testid))).wait(PATIENCE, POLL).and_clickable();
            match query.first().await {
                // To the middle, clear of what sticks to the edges of the window.
                Ok(element) => match element.scroll_into_view().await.and(element.click().await) {
                    Ok(()) => return Ok(()),
                    Err(error) => last = Some(error),
                },
                Err(error) => bail!("{testid} cannot be clicked: {error}\n{}", self.situation().await),
            }
            tokio::time::sleep(POLL).await;
        }
        bail!("{testid} cannot be clicked: {last:?}\n{}", self.situation().await)
    }

    /// Replaces the text of a field.
    ///
    /// # Errors
    /// There is no such field.
    pub async fn fill(&self, testid: &str, text: &str) -> Result<()> {
        let field = self.find(testid).await?;
        if self.uses_keys() {
            self.reach(testid).await?;
        }
        field.send_keys(Key::Control + "a").await?;
        field.send_keys(Key::Delete).await?;
        field.send_keys(text).await?;
        Ok(())
    }

    /// Replaces the text of an editor, whose field is in a shadow root.
    ///
    /// # Errors
    /// The editor was not loaded.
    pub async fn fill_code(&self, testid: &str, text: &str) -> Result<()> {
        self.expect(&format!("{}[data-editor=ready]", css(testid)), PATIENCE).await?;
        let host = self.find(testid).await?;
        host.scroll_into_view().await?;
        let content = host.get_shadow_root().await?.find(By::Css(".cm-content")).await?;
        // In one go: what is not the active element of the document gets the caret at its end each time.
        content.send_keys(Key::Control + "a" + Key::Null + Key::Delete).await?;
        // As one piece: the editor would indent what follows an Enter.
        let script = "const [host, text] = arguments; const line = host.shadowRoot.querySelector('.cm-content'); \
                      line.focus(); document.execCommand('insertText', false, text);";
        let arguments = vec![host.to_json()?, json!(text)];
        self.driver.execute(script, arguments).await?;
        Ok(())
    }

    /// Presses a key where the focus is.
    ///
    /// # Errors
    /// The browser does not answer.
    pub async fn press(&self, key: Key) -> Result<()> {
        Ok(self.driver.active_element().await?.send_keys(key + "").await?)
    }

    /// The `data-testid` of what has the focus, or its text.
    ///
    /// # Errors
    /// The browser does not answer.
    pub async fn focused(&self) -> Result<String> {
        let script = "const e = document.activeElement; return e.dataset.testid || e.textContent.trim()";
        Ok(self.script(script).await?.as_str().unwrap_or_default().to_owned())
    }

    /// Shows the page as on a screen of this size in CSS pixels, smaller than a window can be; none: as in the window.
    ///
    /// # Errors
    /// The browser does not answer.
    pub async fn emulate(&self, size: Option<(u32, u32)>) -> Result<()> {
        let tools = self.driver.cdp();
        match size {
            Some((width, height)) => {
                let screen = json!({ "width": width, "height": height, "deviceScaleFactor": 2, "mobile": false });
                tools.send_raw("Emulation.setDeviceMetricsOverride", screen).await?
            }
            None => tools.send_raw("Emulation.clearDeviceMetricsOverride", json!({})).await?,
        };
        Ok(())
    }

    /// Has every answer take this long at least (milliseconds), with nothing kept from earlier ones; none: as it is.
    ///
    /// # Errors
    /// The browser does not answer.
    pub async fn slow_line(&self, latency_ms: Option<u32>) -> Result<()> {
        let tools = self.driver.cdp();
        tools.send_raw("Network.enable", json!({})).await?;
        tools.send_raw("Network.setCacheDisabled", json!({ "cacheDisabled": latency_ms.is_some() })).await?;
        let line = json!({
            "offline": false, "latency": latency_ms.unwrap_or(0), "downloadThroughput": -1, "uploadThroughput": -1,
        });
        tools.send_raw("Network.emulateNetworkConditions", line).await?;
        Ok(())
    }

    /// Tells the browser's developer tools something; what they answer.
    ///
    /// # Errors
    /// The browser does not answer.
    pub async fn tell_tools(&self, what: &str, with: serde_json::Value) -> Result<serde_json::Value> {
        self.driver.cdp().send_raw(what, with).await.with_context(|| format!("the browser does not answer {what}"))
    }

    /// Runs a script in every page from now on, before anything of the page; its name.
    ///
    /// # Errors
    /// The browser does not answer.
    pub async fn before_pages(&self, script: &str) -> Result<String> {
        let source = json!({ "source": script });
        let made = self.driver.cdp().send_raw("Page.addScriptToEvaluateOnNewDocument", source).await?;
        Ok(made["identifier"].as_str().unwrap_or_default().to_owned())
    }

    /// Runs the script of that name no more.
    ///
    /// # Errors
    /// The browser does not answer.
    pub async fn no_more_before_pages(&self, name: &str) -> Result<()> {
        let script = json!({ "identifier": name });
        self.driver.cdp().send_raw("Page.removeScriptToEvaluateOnNewDocument", script).await?;
        Ok(())
    }

    /// The person who looks wants no motion, or does not mind.
    ///
    /// # Errors
    /// The browser does not answer.
    pub async fn reduce_motion(&self, on: bool) -> Result<()> {
        let value = if on { "reduce" } else { "" };
        let features = json!({ "features": [{ "name": "prefers-reduced-motion", "value": value }] });
        self.driver.cdp().send_raw("Emulation.setEmulatedMedia", features).await?;
        Ok(())
    }

    /// Waits until the element of a CSS selector is there.
    ///
    /// # Errors
    /// It does not come within `patience`.
    pub async fn expect(&self, selector: &str, patience: Duration) -> Result<()> {
        match self.driver.query(By::Css(selector)).wait(patience, POLL).first().await {
            Ok(_) => Ok(()),
            Err(error) => bail!("{selector} did not come: {error}\n{}", self.situation().await),
        }
    }

    /// Waits until the text of the element with this `data-testid` holds `wanted`.
    ///
    /// # Errors
    /// It does not within the patience.
    pub async fn expect_text(&self, testid: &str, wanted: &str) -> Result<()> {
        let query = self.driver.query(By::Css(css(testid))).wait(PATIENCE, POLL);
        match query.with_text(thirtyfour::stringmatch::StringMatch::new(wanted).partial()).first().await {
            Ok(_) => Ok(()),
            Err(error) => bail!("{testid} does not say {wanted:?}: {error}\n{}", self.situation().await),
        }
    }

    /// True if an element with this `data-testid` is there now.
    ///
    /// # Errors
    /// The browser does not answer.
    pub async fn is_there(&self, testid: &str) -> Result<bool> {
        Ok(self.driver.query(By::Css(css(testid))).nowait().exists().await?)
    }

    /// The text of the element with this `data-testid`.
    ///
    /// # Errors
    /// It does not come.
    pub async fn text(&self, testid: &str) -> Result<String> {
        Ok(self.find(testid).await?.text().await?)
    }

    /// Runs a script in the page; what it returns.
    ///
    /// # Errors
    /// The script fails.
    pub async fn script(&self, script: &str) -> Result<serde_json::Value> {
        Ok(self.driver.execute(script, Vec::new()).await?.json().clone())
    }

    /// Waits until a script returns true.
    ///
    /// # Errors
    /// It does not within the patience, or fails.
    pub async fn until(&self, script: &str) -> Result<()> {
        let began = std::time::Instant::now();
        while self.script(script).await? != true {
            if began.elapsed() > PATIENCE {
                bail!("never true: {script}\n{}", self.situation().await);
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Runs a script that calls its last argument with what it returns.
    ///
    /// # Errors
    /// The script fails.
    pub async fn script_async(&self, script: &str) -> Result<serde_json::Value> {
        Ok(self.driver.execute_async(script, Vec::new()).await?.json().clone())
    }

    /// Saves a picture of the page as `<name>.png`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn picture(&self, name: &str) -> Result<()> {
        self.driver.screenshot(&self.pictures.join(format!("{name}.png"))).await?;
        Ok(())
    }

    /// Size of the window, pixels.
    ///
    /// # Errors
    /// The browser does not answer.
    pub async fn size(&self) -> Result<(u32, u32)> {
        let rect = self.driver.get_window_rect().await?;
        Ok((u32::try_from(rect.width)?, u32::try_from(rect.height)?))
    }

    /// Sets the size of the window, pixels.
    ///
    /// # Errors
    /// The browser does not answer.
    pub async fn resize(&self, width: u32, height: u32) -> Result<()> {
        Ok(self.driver.set_window_rect(0, 0, width, height).await?)
    }

    /// What the page complained about since the last call.
    ///
    /// # Errors
    /// The browser does not answer.
    pub async fn complaints(&self) -> Result<Vec<String>> {
        let entries = self.driver.browser_log().await?;
        Ok(entries.into_iter().filter(|entry| entry.level == "SEVERE").map(|entry| entry.message).collect())
    }

    /// The content of a downloaded file whose name contains `part`, once it is complete.
    ///
    /// # Errors
    /// It does not come.
    pub async fn downloaded(&self, part: &str) -> Result<Vec<u8>> {
        let began = std::time::Instant::now();
        loop {
            let names: Vec<PathBuf> =
                std::fs::read_dir(&self.downloads)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
            let complete = |path: &&PathBuf| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                // The browser takes the name with an empty file first.
                let filled = path.metadata().is_ok_and(|file| file.len() > 0);
                filled && name.contains(part) && !name.ends_with(".crdownload") && !name.starts_with('.')
            };
            if let Some(path) = names.iter().find(complete) {
                let content = std::fs::read(path)?;
                std::fs::remove_file(path)?;
                return Ok(content);
            }
            if began.elapsed() > PATIENCE {
                bail!("no file with {part:?} in its name was downloaded; there are {names:?}");
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Ends the session in order.
    ///
    /// # Errors
    /// The browser does not answer.
    pub async fn end(self) -> Result<()> {
        Ok(self.driver.clone().quit().await?)
    }

    /// Where the page is and what it says, for errors.
    async fn situation(&self) -> String {
        let address = self.driver.current_url().await.map(|url| url.to_string()).unwrap_or_default();
        let text = match self.driver.find(By::Tag("body")).await {
            Ok(body) => body.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        };
        let complaints = self.complaints().await.unwrap_or_default();
        self.picture("failure").await.ok();
        format!("at {address}\npage: {text}\nbrowser: {complaints:?}")
    }
}

fn capabilities(downloads: &Path) -> Result<ChromeCapabilities> {
    let mut capabilities = DesiredCapabilities::chrome();
    for argument in ARGUMENTS {
        capabilities.add_arg(argument)?;
    }
    capabilities.accept_insecure_certs(true)?;
    capabilities.set_logging_prefs("browser".to_owned(), LoggingPrefsLogLevel::All)?;
    let preferences = json!({ "download.default_directory": downloads, "download.prompt_for_download": false });
    capabilities.add_experimental_option("prefs", preferences)?;
    Ok(capabilities)
}

pub(crate) fn css(testid: &str) -> String {
    format!("[data-testid=\"{testid}\"]")
}
