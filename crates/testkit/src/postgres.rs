//! A PostgreSQL server of its own for tests: Debian's binaries, a folder under the temporary folder, a Unix socket
//! there and a free loopback port. It ends with the value that started it, and with the process if that is killed.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use tempfile::TempDir;

/// Set to `1` to leave PostgreSQL out of the tests. Without it, a machine without PostgreSQL fails them.
pub const SKIP_VARIABLE: &str = "VERIBOOT_SKIP_POSTGRES";

const USER: &str = "veriboot";
const PASSWORD: &str = "only for tests";
/// The password as it stands in a URL.
const PASSWORD_IN_URL: &str = "only%20for%20tests";
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// One PostgreSQL cluster.
pub struct Postgres {
    folder: TempDir,
    binaries: PathBuf,
    account: Option<Account>,
    port: u16,
    server: Option<Server>,
    databases: AtomicU32,
    /// Whether it is to last: commits are on the disk, and tables are cleaned and counted in the background.
    lasting: bool,
}

/// The account that the server runs as when the tests run as root, which PostgreSQL refuses to run as.
#[derive(Clone, Copy)]
struct Account {
    uid: u32,
    gid: u32,
}

/// The server process. A thread of its own starts it and stays as long as it runs, because the kernel ends the
/// server (PR_SET_PDEATHSIG) with the thread that started it.
struct Server {
    stop: Sender<()>,
    keeper: JoinHandle<()>,
}

static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());

impl Postgres {
    /// The cluster of this process, started by the first caller and stopped with the last. `None`, said aloud, when
    /// [`SKIP_VARIABLE`] is `1`.
    pub fn shared() -> anyhow::Result<Option<Arc<Self>>> {
        if skipped() {
            return Ok(None);
        }
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Ok(Some(running));
        }
        let started = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&started);
        Ok(Some(started))
    }

    /// A cluster that nobody else uses.
    pub fn start() -> anyhow::Result<Self> {
        Self::start_as(false)
    }

    /// A cluster for benches, as servers are that are meant to last: commits are on the disk before they are answered, tables
    /// are vacuumed and analysed in the background. `None`, said aloud, when [`SKIP_VARIABLE`] is `1`.
    pub fn start_lasting() -> anyhow::Result<Option<Self>> {
        if skipped() { Ok(None) } else { Self::start_as(true).map(Some) }
    }

    fn start_as(lasting: bool) -> anyhow::Result<Self> {
        let binaries = binaries()?;
        let account = account()?;
        let folder = tempfile::Builder::new().prefix("veriboot-pg-").tempdir()?;
        if let Some(account) = account {
            chown(folder.path(), Some(account.uid), Some(account.gid))?;
        }
        let mut this =
            Self { folder, binaries, account, port: 0, server: None, databases: AtomicU32::new(0), lasting };
        this.make_data()?;
        this.start_server()?;
        Ok(this)
    }

    /// Makes the data folder: a copy of a template that the first run makes with initdb, which takes a second that
    /// most test processes thus save. The template is this user's alone; a copy that lost a race is thrown away.
    fn make_data(&self) -> anyhow::Result<()> {
        let uid = std::fs::metadata(self.folder.path())?.uid();
        let us = std::fs::metadata("/proc/self")?.uid();
        let version = self
            .binaries
            .parent()
            .and_then(Path::file_name)
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let template = std::env::temp_dir().join(format!("veriboot-postgres-{version}-template-{us}-{uid}"));
        if !template.exists() {
            self.initdb()?;
            let fresh = tempfile::Builder::new().prefix("veriboot-pg-").tempdir()?;
            copy(&self.data(), &fresh.path().join("data"))?;
            // Fails when another process was faster, whose template is as good.
            let _ = std::fs::rename(fresh.path(), &template);
            return Ok(());
        }
        let found = std::fs::symlink_metadata(&template)?;
        ensure!(found.is_dir() && found.uid() == us, "{} is not ours", template.display());
        copy(&template.join("data"), &self.data())?;
        if let Some(Account { uid, gid }) = self.account {
            run(Command::new("chown").arg("-R").arg(format!("{uid}:{gid}")).arg(self.data()))?;
        }
        Ok(())
    }

    fn initdb(&self) -> anyhow::Result<()> {
        let password_file = self.folder.path().join("password");
        std::fs::write(&password_file, PASSWORD)?;
        if let Some(account) = self.account {
            chown(&password_file, Some(account.uid), Some(account.gid))?;
        }
        run(self
            .command("initdb")
            .args(["--no-sync", "--wal-segsize=1", "--encoding=UTF8", "--locale=C.UTF-8", "--username", USER])
            .args(["--auth-local=trust", "--auth-host=scram-sha-256", "--pwfile"])
            .arg(&password_file)
            .arg("--pgdata")
            .arg(self.data()))
    }

    /// Starts the server, again after [`Postgres::stop`].
    pub fn start_server(&mut self) -> anyhow::Result<()> {
        let mut last = String::new();
        for _ in 0..3 {
            if self.port == 0 {
                self.port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            }
            match self.try_start() {
                Ok(server) => {
                    self.server = Some(server);
                    return Ok(());
                }
                // Somebody else may have taken the port meanwhile.
                Err(error) => last = error.to_string(),
            }
            self.port = 0;
        }
        bail!("PostgreSQL does not start: {last}")
    }

    fn try_start(&self) -> anyhow::Result<Server> {
        let mut command = self.command("postgres");
        command
            .arg("-D")
            .arg(self.data())
            .arg("-k")
            .arg(self.folder.path())
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-c", "max_connections=200", "-c", "log_min_messages=fatal"])
            .args(["-c", "max_logical_replication_workers=0"]);
        let settings: &[&str] = match self.lasting {
            // Beside the defaults, memory for a fleet.
            true => &["-c", "shared_buffers=512MB", "-c", "max_wal_size=2GB"],
            // Tests kill processes, not the power: what the kernel has is safe. And fewer processes to start: nothing lives long
            // enough to need them.
            false => &[
                "-c",
                "fsync=off",
                "-c",
                "autovacuum=off",
                "-c",
                "shared_buffers=64MB",
                "-c",
                "max_wal_size=256MB",
            ],
        };
        command.args(settings).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let (started, child) = channel();
        let (stop, stopped) = channel();
        let keeper = std::thread::Builder::new()
            .name("postgres-keeper".into())
            .spawn(move || keep(command, &started, &stopped))?;
        child.recv().context("the keeper ended")??;
        let server = Server { stop, keeper };
        let deadline = Instant::now() + START_TIMEOUT;
        loop {
            match self.psql("postgres", "SELECT 1") {
                Ok(_) => return Ok(server),
                Err(error) if server.keeper.is_finished() || Instant::now() > deadline => {
                    end(server);
                    return Err(error);
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Ends the server at once, as a crash would (SIGQUIT: immediate shutdown); the data stays.
    pub fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            end(server);
        }
    }

    /// A new, empty database: its URL over loopback TCP with a password. Its default collation is English, as on many
    /// real servers, so that code which relies on the order of bytes must say so (PostgreSQL 15 and later).
    pub fn database(&self) -> anyhow::Result<String> {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let version: u32 = self.psql("postgres", "SHOW server_version_num")?.trim().parse()?;
        let english = "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'";
        let collation = if version >= 150_000 { english } else { "" };
        self.psql("postgres", &format!("CREATE DATABASE {name} {collation}"))?;
        Ok(format!("postgres://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{}/{name}", self.port))
    }

    /// The URL of the same database over the Unix socket, without a password.
    pub fn socket_url(&self, url: &str) -> String {
        let name = url.rsplit('/').next().unwrap_or("postgres");
        let socket = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgres://{USER}@{socket}:{}/{name}", self.port)
    }

    /// Runs SQL in a database with psql and gives its rows as text, columns separated by `|`.
    pub fn psql(&self, database: &str, sql: &str) -> anyhow::Result<String> {
        let output = Command::new(self.binaries.join("psql"))
            .arg("-h")
            .arg(self.folder.path())
            .args(["-p", &self.port.to_string(), "-U", USER, "-d", database, "-X", "-q", "-A", "-t"])
            .args(["-v", "ON_ERROR_STOP=1", "-c", sql])
            .stdin(Stdio::null())
            .output()
            .context("psql")?;
        ensure!(output.status.success(), "psql: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Breaks every client connection to a database and says how many there were.
    pub fn break_connections(&self, url: &str) -> anyhow::Result<usize> {
        let name = url.rsplit('/').next().unwrap_or_default();
        let sql = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
        Ok(self.psql("postgres", &sql)?.lines().count())
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// A server-side program, as the account that may run it, ended by the kernel with the thread that starts it.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "QUIT"]);
        if let Some(Account { uid, gid }) = self.account {
            command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".into()]);
        }
        command.arg(self.binaries.join(program)).current_dir(self.folder.path()).env("LC_ALL", "C.UTF-8");
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| program.clone())?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    run(Command::new("cp").args(["-r", "--preserve=mode", "--reflink=auto"]).arg(from).arg(to))
}

fn end(server: Server) {
    let _ = server.stop.send(());
    let _ = server.keeper.join();
}

/// Starts the server and waits until it is to end.
fn keep(mut command: Command, started: &Sender<anyhow::Result<()>>, stop: &Receiver<()>) {
    let mut child = match command.spawn().context("postgres") {
        Ok(child) => child,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    let _ = started.send(Ok(()));
    let log = child.stderr.take().map(|mut stderr| {
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        })
    });
    loop {
        match stop.recv_timeout(Duration::from_millis(200)) {
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                if matches!(child.try_wait(), Ok(Some(_))) {
                    break;
                }
            }
            _ => {
                quit(&mut child);
                break;
            }
        }
    }
    if let Some(text) = log.and_then(|l| l.join().ok()).filter(|t| !t.is_empty()) {
        let _ = writeln!(std::io::stderr(), "PostgreSQL said: {text}");
    }
}

/// SIGQUIT makes the server end its children and itself at once; SIGKILL would leave the children.
fn quit(child: &mut Child) {
    let _ = Command::new("kill").args(["-QUIT", &child.id().to_string()]).status();
    let _ = child.wait();
}

fn skipped() -> bool {
    let skip = std::env::var_os(SKIP_VARIABLE).is_some_and(|v| v == "1");
    if skip {
        let _ = writeln!(std::io::stderr(), "SKIPPED on PostgreSQL, because {SKIP_VARIABLE}=1");
    }
    skip
}

/// The newest installed version's programs.
fn binaries() -> anyhow::Result<PathBuf> {
    let version = |path: &Path| path.file_name().and_then(|n| n.to_str()?.parse::<u32>().ok());
    let installed =
        std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|e| e.path());
    installed
        .filter(|path| path.join("bin/initdb").exists())
        .max_by_key(|path| version(path))
        .map(|path| path.join("bin"))
        .with_context(|| {
            format!("PostgreSQL is not installed: apt-get install postgresql, or set {SKIP_VARIABLE}=1 to leave it out")
        })
}

/// `None` when the tests run as an ordinary user, who can run the server itself.
fn account() -> anyhow::Result<Option<Account>> {
    if std::fs::metadata("/proc/self")?.uid() != 0 {
        return Ok(None);
    }
    let passwd = std::fs::read_to_string("/etc/passwd")?;
    let account = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some("postgres")).then_some(())?;
        Some(Account { uid: fields.nth(1)?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    });
    account
        .map(Some)
        .context("the tests run as root, and there is no account `postgres` to run the server as")
}
