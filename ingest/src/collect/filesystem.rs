//! Sizes of the mounted file systems. Which ones count is node_exporter's default, with one exception: `/` always does,
//! also as the overlay of a container.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{sheet::Sheet, source::Source, statvfs::Asker};

const PSEUDO: [&str; 30] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "erofs",
    "fusectl",
    "fuse.lxcfs",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "procfs",
    "pstore",
    "ramfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tracefs",
    "fuse.portal",
    "fuse.gvfsd-fuse",
];

/// Of these a person never runs out: they are not in the fleet's figure.
const VOLATILE: [&str; 1] = ["tmpfs"];

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    device: String,
    mountpoint: String,
    fstype: String,
    read_only: bool,
}

#[derive(Debug)]
pub(super) struct Filesystems {
    root: PathBuf,
    asker: Asker,
    /// The text that `mounts` was made of: it changes rarely.
    text: String,
    mounts: Vec<Mount>,
    used: Vec<(String, f64)>,
}

impl Filesystems {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            asker: Asker::default(),
            text: String::new(),
            mounts: Vec::new(),
            used: Vec::new(),
        }
    }

    /// Percent used of each lasting file system, as `df` shows it.
    pub(super) fn used(&self) -> &[(String, f64)] {
        &self.used
    }

    pub(super) fn collect(&mut self, source: &mut Source, sheet: &mut Sheet) -> io::Result<()> {
        self.used.clear();
        // process 1 sees the host's mounts even when we live in a container that was given its proc
        let text = match source.proc("1/mounts") {
            Ok(text) => text.into_owned(),
            Err(_) => source.proc("self/mounts")?.into_owned(),
        };
        if text != self.text {
            self.mounts = mounts(&text);
            self.text = text;
        }
        for mount in &self.mounts {
            let path = self.root.join(mount.mountpoint.trim_start_matches('/'));
            let size = self.asker.ask(&path);
            let labels =
                [("device", &*mount.device), ("fstype", &*mount.fstype), ("mountpoint", &*mount.mountpoint)];
            sheet.gauge("node_filesystem_device_error", "", &labels, if size.is_none() { 1.0 } else { 0.0 });
            sheet.gauge("node_filesystem_readonly", "", &labels, if mount.read_only { 1.0 } else { 0.0 });
            let Some(size) = size else { continue };
            sheet.gauge("node_filesystem_size_bytes", "bytes", &labels, size.bytes);
            sheet.gauge("node_filesystem_free_bytes", "bytes", &labels, size.free);
            sheet.gauge("node_filesystem_avail_bytes", "bytes", &labels, size.available);
            sheet.gauge("node_filesystem_files", "", &labels, size.files);
            sheet.gauge("node_filesystem_files_free", "", &labels, size.files_free);
            let used = size.bytes - size.free;
            if !mount.read_only && !VOLATILE.contains(&&*mount.fstype) && used + size.available > 0.0 {
                self.used.push((mount.mountpoint.clone(), 100.0 * used / (used + size.available)));
            }
        }
        Ok(())
    }
}

/// The mounts that count; of several at one place the last, which is the one that is seen.
fn mounts(text: &str) -> Vec<Mount> {
    let mut all: Vec<Mount> = Vec::new();
    for line in text.lines() {
        let mut words = line.split(' ');
        let (Some(device), Some(mountpoint), Some(fstype), Some(options)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        let mount = Mount {
            device: unescaped(device),
            mountpoint: unescaped(mountpoint),
            fstype: fstype.to_owned(),
            read_only: options.split(',').any(|option| option == "ro"),
        };
        all.retain(|other| other.mountpoint != mount.mountpoint);
        all.push(mount);
    }
    all.retain(counts);
    all
}

fn counts(mount: &Mount) -> bool {
    if mount.mountpoint == "/" {
        return true;
    }
    let below = |folder: &str| {
        mount.mountpoint.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let deeper = |folder: &str| mount.mountpoint.strip_prefix(folder).is_some_and(|rest| !rest.is_empty());
    let hidden = ["/dev", "/proc", "/sys"].into_iter().any(below)
        || ["/run/credentials/", "/var/lib/docker/", "/var/lib/containers/storage/"].into_iter().any(deeper);
    !hidden && !PSEUDO.contains(&&*mount.fstype)
}

/// Blanks, tabs, line ends and backslashes stand in octal: `\040`.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|octal| u8::from_str_radix(octal, 8).ok());
        if let Some(code) = code.filter(u8::is_ascii) {
            out.push(char::from(code));
            rest = &rest[at + 4..];
        } else {
            out.push('\\');
            rest = &rest[at + 1..];
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pseudo_file_systems_and_covered_mounts_are_left_out() {
        let text = "\
proc /proc proc rw 0 0
/dev/vda1 / ext4 rw,relatime 0 0
tmpfs /run tmpfs rw,nosuid 0 0
tmpfs /dev/shm tmpfs rw 0 0
/dev/old /srv/my\\040data ext3 rw 0 0
/dev/vdb /srv/my\\040data xfs ro,noatime 0 0
overlay /var/lib/docker/overlay2/x/merged overlay rw 0 0
/dev/vdc /var/lib/dockerized ext4 rw 0 0
cgroup2 /sys/fs/cgroup cgroup2 rw 0 0
broken line
";
        let found: Vec<_> = mounts(text).into_iter().map(|m| (m.device, m.mountpoint, m.read_only)).collect();
        let expected = [
            ("/dev/vda1", "/", false),
            ("tmpfs", "/run", false),
            ("/dev/vdb", "/srv/my data", true),
            ("/dev/vdc", "/var/lib/dockerized", false),
        ];
        assert_eq!(found, expected.map(|(d, m, r)| (d.to_owned(), m.to_owned(), r)));
        assert_eq!(mounts("overlay / overlay rw 0 0").len(), 1);
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(unescaped(r"a\040b\134c\x"), r"a b\c\x");
        assert_eq!(unescaped(r"end\04"), r"end\04");
        assert_eq!(unescaped("\u{e9}\\\u{e9}\u{e9}"), "\u{e9}\\\u{e9}\u{e9}");
    }
}
