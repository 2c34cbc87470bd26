//! What people write: userconfig.xml, rules, packages.

use holdfast_api::package::Package;
use holdfast_api::rules::{self, effective_rules};
use holdfast_api::userconfig::{self, UserConfig};

/// `userconfig.xml` names a place, or is read and edited.
pub fn userconfig(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let config = match UserConfig::parse(&text) {
        Ok(config) => config,
        Err(error) => {
            let lines = text.matches('\n').count() as u32 + 1;
            assert!((1..=lines).contains(&error.line) && error.column >= 1, "{error}");
            assert!(!error.problem.is_empty() && !error.cure.is_empty(), "{error}");
            return false;
        }
    };
    if let Ok(expanded) = UserConfig::expanded(&text)
        && !expanded.contains('%')
    {
        let again = UserConfig::parse(&expanded).unwrap_or_else(|error| panic!("with macros put in: {error}"));
        assert_eq!(UserConfig { notes: Vec::new(), ..again }, UserConfig { notes: Vec::new(), ..config.clone() });
    }
    let edit = |wanted: &UserConfig| {
        UserConfig::edit(&text, wanted).unwrap_or_else(|error| panic!("what was read cannot be edited: {error}"))
    };
    assert_eq!(edit(&config), text, "an edit that changes nothing changes the text");
    let _ = (config.signature(), effective_rules(&config));
    let mut wanted = config.clone();
    wanted.service.maxloop = wanted.service.maxloop.saturating_add(1);
    wanted.errd.procs.push(userconfig::Proc::new("added"));
    wanted.errd.polltimer_ms = wanted.errd.polltimer_ms.max(1000);
    let edited = UserConfig::parse(&edit(&wanted)).unwrap_or_else(|error| panic!("an edit is not read: {error}"));
    assert_eq!(edited.errd, wanted.errd);
    true
}

/// Rules name a place, or are read back as printed.
pub fn rules(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    match rules::parse(&text) {
        Err(error) => {
            assert!(error.line >= 1 && error.column >= 1 && !error.cure.is_empty(), "{error}");
            false
        }
        Ok(read) => {
            let printed: String = read.iter().map(|rule| format!("{rule}\n")).collect();
            assert_eq!(rules::parse(&printed).as_ref(), Ok(&read), "{printed}");
            true
        }
    }
}

/// Packages are read, or refused in words.
pub fn package(bytes: &[u8]) -> bool {
    match Package::read(bytes) {
        Ok(package) => {
            let _ = package.check();
            let _ = package.userconfig();
            true
        }
        Err(error) => {
            assert!(!error.problem.is_empty());
            false
        }
    }
}
