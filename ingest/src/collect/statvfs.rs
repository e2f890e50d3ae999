//! Asking a file system for its size without hanging with it: a dead network mount blocks the asker for ever.
//!
//! Invariant: a scrape waits for one mount at most [`PATIENCE`], once; a mount that hangs costs one thread until it
//! answers, and is not asked again before.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

const PATIENCE: Duration = Duration::from_millis(250);

/// Bytes and inodes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Size {
    pub(super) bytes: f64,
    pub(super) free: f64,
    pub(super) available: f64,
    pub(super) files: f64,
    pub(super) files_free: f64,
}

type Answer = Option<Size>;

/// A thread that asks.
#[derive(Debug)]
struct Worker {
    paths: mpsc::Sender<PathBuf>,
    answers: mpsc::Receiver<Answer>,
}

#[derive(Debug, Default)]
pub(super) struct Asker {
    worker: Option<Worker>,
    /// Where a worker hangs, with what it will say at last.
    hanging: HashMap<PathBuf, mpsc::Receiver<Answer>>,
}

impl Asker {
    /// The size, or none when there is an error or no answer in time.
    pub(super) fn ask(&mut self, path: &Path) -> Answer {
        self.ask_by(path, size)
    }

    fn ask_by(&mut self, path: &Path, ask: fn(&Path) -> Answer) -> Answer {
        if let Some(late) = self.hanging.get(path) {
            match late.try_recv() {
                Err(mpsc::TryRecvError::Empty) => return None,
                Ok(_) | Err(mpsc::TryRecvError::Disconnected) => self.hanging.remove(path),
            };
        }
        let worker = match self.worker.take() {
            Some(worker) => worker,
            None => Worker::start(ask)?,
        };
        worker.paths.send(path.to_owned()).ok()?;
        match worker.answers.recv_timeout(PATIENCE) {
            Ok(answer) => {
                self.worker = Some(worker);
                answer
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                tracing::warn!(path = %path.display(), "file system does not answer, go on without it");
                self.hanging.insert(path.to_owned(), worker.answers);
                None
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
        }
    }
}

impl Worker {
    fn start(ask: fn(&Path) -> Answer) -> Option<Self> {
        let (paths, asked) = mpsc::channel::<PathBuf>();
        let (say, answers) = mpsc::channel();
        // ends when either side of us is gone
        let work = move || {
            for path in asked {
                if say.send(ask(&path)).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("statvfs".into()).stack_size(128 << 10).spawn(work).ok()?;
        Some(Self { paths, answers })
    }
}

fn size(path: &Path) -> Answer {
    let stat = rustix::fs::statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks as f64 * stat.f_frsize as f64;
    Some(Size {
        bytes: bytes(stat.f_blocks),
        free: bytes(stat.f_bfree),
        available: bytes(stat.f_bavail),
        files: stat.f_files as f64,
        files_free: stat.f_ffree as f64,
    })
}

#[cfg(test)]
mod tests {
    use std::{sync::LazyLock, time::Instant};

    use super::*;

    #[test]
    fn the_root_has_a_size_and_nowhere_has_none() {
        let mut asker = Asker::default();
        let root = asker.ask(Path::new("/")).unwrap();
        assert!(root.bytes > 0.0 && root.free >= root.available && root.files >= root.files_free);
        assert_eq!(asker.ask(Path::new("/no/such/folder")), None);
        assert!(asker.ask(Path::new("/")).is_some());
    }

    #[test]
    fn a_mount_that_hangs_costs_its_time_once() {
        static GATE: LazyLock<(mpsc::SyncSender<()>, std::sync::Mutex<mpsc::Receiver<()>>)> =
            LazyLock::new(|| {
                let (open, gate) = mpsc::sync_channel(1);
                (open, std::sync::Mutex::new(gate))
            });
        fn ask(path: &Path) -> Answer {
            if path == Path::new("/dead") {
                GATE.1.lock().unwrap().recv().unwrap();
            }
            size(Path::new("/"))
        }
        let mut asker = Asker::default();
        assert!(asker.ask_by(Path::new("/"), ask).is_some());
        assert_eq!(asker.ask_by(Path::new("/dead"), ask), None);
        let start = Instant::now();
        for _ in 0..100 {
            assert_eq!(asker.ask_by(Path::new("/dead"), ask), None);
            assert!(asker.ask_by(Path::new("/"), ask).is_some());
        }
        assert!(start.elapsed() < PATIENCE * 20);
        // back to life: the late answer arrives, then it is asked anew
        GATE.0.send(()).unwrap();
        for _ in 0..100 {
            let _ = GATE.0.try_send(());
            if asker.ask_by(Path::new("/dead"), ask).is_some() {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("a mount that answers again is not asked again");
    }
}
