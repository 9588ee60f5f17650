//! The module's file: where libpam looks for it, and whether it is fit to be loaded.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where distributions keep PAM modules; libpam is built with one of them.
pub(crate) fn folders(root: &Path) -> Vec<PathBuf> {
    let multiarch = format!("{}-linux-gnu", std::env::consts::ARCH);
    [
        format!("usr/lib/{multiarch}/security"),
        format!("lib/{multiarch}/security"),
        "usr/lib64/security".to_owned(),
        "lib64/security".to_owned(),
        "usr/lib/security".to_owned(),
        "lib/security".to_owned(),
    ]
    .iter()
    .map(|folder| root.join(folder))
    // The one that is libpam's has libpam's own modules in it.
    .filter(|folder| folder.join("pam_permit.so").exists())
    .collect()
}

/// The file of a module as a PAM file names it.
pub(crate) fn find(root: &Path, path: &str) -> Option<PathBuf> {
    if let Some(below) = path.strip_prefix('/') {
        return Some(root.join(below)).filter(|path| path.exists());
    }
    let paths = folders(root).into_iter().map(|folder| folder.join(path));
    paths.into_iter().find(|path| path.exists())
}

/// Whether our module is there and nobody but root can change it.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn present(root: &Path) -> Result<(), String> {
    match find(root, super::MODULE) {
        Some(path) => trusted(&path),
        None => {
            let folders = folders(root);
            let folders: Vec<String> = folders.iter().map(|f| f.display().to_string()).collect();
            Err(format!(
                "{} is not where libpam looks for modules ({}); install it first, or everybody is locked out",
                super::MODULE,
                folders.join(", ")
            ))
        }
    }
}

/// Whether nobody but root can change a file.
///
/// # Errors
///
/// Who can, and how to mend it.
pub(crate) fn trusted(path: &Path) -> Result<(), String> {
    let real = path
        .canonicalize()
        .map_err(|e| format!("{}: {e}", path.display()))?;
    for part in real.ancestors() {
        let meta = part
            .metadata()
            .map_err(|e| format!("{}: {e}", part.display()))?;
        if meta.uid() != 0 {
            return Err(format!(
                "{0} belongs to uid {1}, who can become root through it; run: chown root {0}",
                part.display(),
                meta.uid()
            ));
        }
        // A sticky folder above lets nobody swap what is root's.
        let sticky = part != real && meta.mode() & 0o1000 != 0;
        if meta.mode() & 0o022 != 0 && !sticky {
            return Err(format!(
                "{0} can be written by others than root (mode {1:04o}); run: chmod go-w {0}",
                part.display(),
                meta.mode() & 0o7777
            ));
        }
    }
    Ok(())
}
