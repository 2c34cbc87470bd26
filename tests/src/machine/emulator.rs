//! One machine: powered on, cut off from its power, and asked through a serial port.

use crate::lab::wait::wait_for;
use crate::machine::image::Image;
use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A machine has started its agent after at most this time: everything is emulated.
const BOOT: Duration = Duration::from_secs(180);

/// Ports of a machine's services.
const BANK: u16 = 8080;
const HEALTH: u16 = 9010;

/// Ports on loopback that belong to one machine.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// End of the cable between both machines.
    cable: u16,
    /// Leads to the bank.
    pub bank: SocketAddr,
    /// Leads to the health URL.
    pub health: SocketAddr,
}

impl Ports {
    /// Ports that are free now.
    ///
    /// # Errors
    /// There are none.
    pub fn free() -> Result<Self> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        // All are held while the others are looked for.
        let (bank, health) = (TcpListener::bind(any)?, TcpListener::bind(any)?);
        let cable = UdpSocket::bind(any)?.local_addr()?.port();
        Ok(Self { cable, bank: bank.local_addr()?, health: health.local_addr()? })
    }
}

/// A machine with a disk of its own; off at first.
pub struct Machine {
    /// 1 or 2.
    pub number: u8,
    /// Its ports.
    pub ports: Ports,
    peer: Ports,
    folder: PathBuf,
    running: Option<(Child, BufReader<UnixStream>)>,
}

impl Machine {
    /// A machine whose disk and output are in `folder`; a disk that is there is kept.
    ///
    /// # Errors
    /// The disk cannot be made.
    pub fn new(number: u8, folder: &Path, ports: Ports, peer: Ports) -> Result<Self> {
        let machine = Self { number, ports, peer, folder: folder.to_owned(), running: None };
        let disk = machine.path("disk");
        if !disk.exists() {
            super::image::empty_disk(&disk, 1024, None)?;
        }
        Ok(machine)
    }

    fn path(&self, what: &str) -> PathBuf {
        self.folder.join(format!("machine{}.{what}", self.number))
    }

    /// Powers it on and waits until it takes commands.
    ///
    /// # Errors
    /// The emulator is missing, or the machine does not come up; the error holds the end of its console.
    pub fn power_on(&mut self, image: &Image) -> Result<()> {
        let (socket, console) = (self.path("socket"), self.path("console"));
        let _ = std::fs::remove_file(&socket);
        let mut child = self.emulator(image, &socket, &console).spawn().context("cannot run the emulator")?;
        let up = wait_for(&format!("machine {} to start", self.number), BOOT, || {
            if let Some(status) = child.try_wait()? {
                bail!("the emulator ended ({status})");
            }
            Ok(UnixStream::connect(&socket).ok())
        });
        let stream = up?;
        stream.set_read_timeout(Some(BOOT))?;
        self.running = Some((child, BufReader::new(stream)));
        self.answer("starting").map(drop).with_context(|| self.console())
    }

    fn emulator(&self, image: &Image, socket: &Path, console: &Path) -> Command {
        let disk = |path: &Path, mode: &str| format!("file={},format=raw,if=virtio,{mode}", path.display());
        let (near, far) = (self.ports.cable, self.peer.cable);
        let door = |address: SocketAddr, port: u16| format!("hostfwd=tcp:{address}-:{port}");
        let doors = [door(self.ports.bank, BANK), door(self.ports.health, HEALTH)].join(",");
        let card = |network: &str, last: u8| {
            format!("virtio-net-pci,netdev={network},mac=52:54:00:77:{last:02x}:{:02x}", self.number)
        };
        // It ends with this process, however that ends.
        let mut command = Command::new("setpriv");
        command.args([
            "--pdeathsig",
            "KILL",
            "qemu-system-x86_64",
            "-accel",
            "tcg",
            "-cpu",
            "max",
            "-smp",
            "1",
            "-m",
            "448",
        ]);
        command.args(["-nodefaults", "-display", "none", "-no-reboot"]);
        command.arg("-kernel").arg(&image.kernel).arg("-initrd").arg(&image.initramfs);
        command.args(["-append", &format!("console=ttyS0 quiet mitigations=off holdfast.node={}", self.number)]);
        command.args(["-drive", &disk(&image.tree, "readonly=on"), "-drive", &disk(&image.programs, "readonly=on")]);
        command.args(["-drive", &disk(&self.path("disk"), "cache=writeback")]);
        command.args(["-serial", &format!("file:{}", console.display())]);
        command.args(["-serial", &format!("unix:{},server=on,wait=off", socket.display())]);
        command.args(["-netdev", &format!("socket,id=cable,udp=127.0.0.1:{far},localaddr=127.0.0.1:{near}")]);
        command.args(["-device", &card("cable", 0), "-netdev", &format!("user,id=doors,restrict=on,{doors}")]);
        command.args(["-device", &card("doors", 1), "-device", "virtio-rng-pci"]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Whether it has power.
    pub fn is_on(&self) -> bool {
        self.running.is_some()
    }

    /// Cuts its power: what it had not flushed is gone.
    ///
    /// # Errors
    /// The emulator does not end.
    pub fn power_off(&mut self) -> Result<()> {
        if let Some((mut child, _)) = self.running.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Runs a line of bash; its output and exit code.
    ///
    /// # Errors
    /// The machine is off or does not answer.
    pub fn command(&mut self, line: &str) -> Result<(String, i32)> {
        let number = self.number;
        let (_, stream) = self.running.as_mut().with_context(|| format!("machine {number} is off"))?;
        stream.get_mut().write_all(format!("{line}\n").as_bytes())?;
        self.answer(line)
    }

    /// What it says next, up to an exit code.
    fn answer(&mut self, line: &str) -> Result<(String, i32)> {
        let number = self.number;
        let (_, stream) = self.running.as_mut().with_context(|| format!("machine {number} is off"))?;
        let mut text = String::new();
        loop {
            let mut part = String::new();
            if stream.read_line(&mut part).with_context(|| format!("machine {number} does not answer `{line}`"))? == 0 {
                bail!("machine {number} ended during `{line}`");
            }
            if let Some(code) = part.trim().strip_prefix("END ") {
                let output = STANDARD.decode(&text).context("what a machine answered is no base64")?;
                return Ok((String::from_utf8_lossy(&output).into_owned(), code.parse()?));
            }
            text.push_str(part.trim());
        }
    }

    /// As [`Machine::command`], and demands exit code 0; the output.
    ///
    /// # Errors
    /// It failed.
    pub fn done(&mut self, line: &str) -> Result<String> {
        let (output, code) = self.command(line)?;
        if code != 0 {
            bail!("`{line}` failed on machine {} ({code}): {}", self.number, output.trim());
        }
        Ok(output)
    }

    /// Puts a file on the machine.
    ///
    /// # Errors
    /// The machine is off or refuses.
    pub fn put(&mut self, path: &str, content: &[u8]) -> Result<()> {
        self.done(&format!("echo {} | base64 -d > {path}", STANDARD.encode(content))).map(drop)
    }

    /// The end of what its console showed.
    pub fn console(&self) -> String {
        let text = std::fs::read(self.path("console")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        format!("console of machine {}:\n{}", self.number, lines[lines.len().saturating_sub(15)..].join("\n"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.power_off();
    }
}
