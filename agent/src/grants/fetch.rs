//! Getting a bundle's bytes from where bundles come from.
//!
//! The carrier is not trusted: it can withhold, stall or flood, so everything here is bounded, and
//! it can lie, so nothing here is believed. Whether the bytes count is decided elsewhere.

use crate::config::{PolicyConfig, SourceUrl};
use crate::trusted_file;
use jiff::SignedDuration;
use jit_policy::bundle::MAX_SIZE;
use reqwest::header::{ACCEPT, DATE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, LAST_MODIFIED};
use reqwest::{Certificate, Client, StatusCode};
use std::error::Error;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MAX_CA_BYTES: u64 = 4 * 1024 * 1024;

/// What a source answered.
#[derive(Debug)]
pub(super) enum Fetched {
    /// These bytes.
    Bytes {
        bytes: Vec<u8>,
        /// To be shown at the next fetch, so that the same bytes need not travel again.
        etag: Option<HeaderValue>,
    },
    /// What it answered last time.
    Unchanged,
}

/// Why a source gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum FetchError {
    #[error("the source cannot be reached: {0}")]
    Unreachable(String),
    #[error("the source answered {0}")]
    Status(StatusCode),
    #[error(
        "the source answered {0}, and redirects are not followed; put the final URL in [policy] url"
    )]
    Redirect(StatusCode),
    #[error("the bundle did not arrive whole within {} s", .0.as_secs())]
    Slow(Duration),
    #[error("the bundle is longer than {MAX_SIZE} bytes")]
    Size,
    #[error("[policy] ca_file: {0}")]
    CaFile(String),
    #[error("{}: {why}", .path.display())]
    File { path: PathBuf, why: String },
}

impl FetchError {
    /// The stable word for audit records.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::CaFile(_) => "ca_file",
            _ => "unreachable",
        }
    }
}

/// Asks the source once. `etag` is what it gave with the bytes that are known already.
pub(super) async fn fetch(
    policy: &PolicyConfig,
    etag: Option<HeaderValue>,
) -> Result<Fetched, FetchError> {
    // Long enough for a big bundle over a slow line, short enough that a source which trickles
    // does not keep better news away for long.
    let patience = policy
        .refresh
        .clamp(Duration::from_secs(10), Duration::from_secs(120));
    let whole = async {
        match &policy.url {
            SourceUrl::Https(url) => https(url, policy.ca_file.clone(), etag).await,
            SourceUrl::File(path) => {
                let path = path.clone();
                blocking(move || file(&path)).await
            }
        }
    };
    match tokio::time::timeout(patience, whole).await {
        Ok(result) => result,
        Err(_) => Err(FetchError::Slow(patience)),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FetchError> + Send + 'static,
) -> Result<T, FetchError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(FetchError::Unreachable(format!("interrupted: {e}"))))
}

async fn https(
    url: &reqwest::Url,
    ca_file: Option<PathBuf>,
    etag: Option<HeaderValue>,
) -> Result<Fetched, FetchError> {
    // A client for each fetch, so that a changed ca_file counts at the next one, and no idle
    // connection is kept for a minute.
    let client = blocking(move || client(ca_file.as_deref())).await?;
    let mut request = client.get(url.clone()).header(ACCEPT, "application/json");
    if let Some(etag) = etag {
        request = request.header(IF_NONE_MATCH, etag);
    }
    let mut response = request.send().await.map_err(unreachable)?;
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_MODIFIED => return Ok(Fetched::Unchanged),
        status if status.is_redirection() => return Err(FetchError::Redirect(status)),
        status => return Err(FetchError::Status(status)),
    }
    let announced = response.content_length().unwrap_or(0);
    if announced > length(MAX_SIZE) {
        return Err(FetchError::Size);
    }
    let etag = etag_of(response.headers());
    let mut bytes = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if bytes.len() + chunk.len() > MAX_SIZE {
            return Err(FetchError::Size);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Fetched::Bytes { bytes, etag })
}

/// The tag of an answer, if it tells this answer from every later one. Many servers (nginx among
/// them) make tags of time and size, so two bundles published in one second can share one. A tag
/// can be relied on once that second is over (RFC 9110, section 8.8.2.2).
fn etag_of(headers: &HeaderMap) -> Option<HeaderValue> {
    let time = |name| {
        let text = headers.get(name)?.to_str().ok()?;
        jiff::fmt::rfc2822::DateTimeParser::new()
            .parse_timestamp(text)
            .ok()
    };
    let etag = headers.get(ETAG)?.clone();
    match (time(LAST_MODIFIED), time(DATE)) {
        (Some(modified), Some(now)) => {
            (now.duration_since(modified) >= SignedDuration::from_secs(2)).then_some(etag)
        }
        _ => None,
    }
}

fn client(ca_file: Option<&Path>) -> Result<Client, FetchError> {
    let mut builder = Client::builder()
        .user_agent(concat!("jit-agentd/", env!("CARGO_PKG_VERSION")))
        .https_only(true)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(Duration::from_secs(10));
    if let Some(path) = ca_file {
        let why = |e: &dyn std::fmt::Display| FetchError::CaFile(e.to_string());
        let pem = trusted_file::read(path, MAX_CA_BYTES).map_err(|e| why(&e))?;
        let certificates = Certificate::from_pem_bundle(&pem)
            .map_err(|e| why(&format!("{}: {}", path.display(), chain(&e))))?;
        if certificates.is_empty() {
            return Err(why(&format!(
                "{}: holds no PEM certificate",
                path.display()
            )));
        }
        builder = builder.tls_certs_only(certificates);
    }
    builder.build().map_err(unreachable)
}

/// A bundle in a file is trusted for its signature too, so whose file it is does not matter; only
/// that it is one.
fn file(path: &Path) -> Result<Fetched, FetchError> {
    let fail = |why: String| FetchError::File {
        path: path.to_owned(),
        why,
    };
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY)
        .open(path)
        .map_err(|e| fail(e.to_string()))?;
    let meta = file.metadata().map_err(|e| fail(e.to_string()))?;
    if !meta.is_file() {
        return Err(fail("not a regular file".to_owned()));
    }
    if meta.len() > length(MAX_SIZE) {
        return Err(FetchError::Size);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0));
    file.take(length(MAX_SIZE) + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| fail(e.to_string()))?;
    if bytes.len() > MAX_SIZE {
        return Err(FetchError::Size);
    }
    Ok(Fetched::Bytes { bytes, etag: None })
}

fn length(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Without the URL: its query may hold a secret, and this is shown to everybody.
fn unreachable(error: reqwest::Error) -> FetchError {
    FetchError::Unreachable(chain(&error.without_url()))
}

/// An error with what caused it: the outermost alone says only that a request failed.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.ends_with(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_counts_only_when_its_second_is_over() {
        let counts = |modified: Option<&'static str>, date: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(ETAG, HeaderValue::from_static("\"65-1f\""));
            for (name, value) in [(LAST_MODIFIED, modified), (DATE, date)] {
                headers.extend(value.map(|value| (name, HeaderValue::from_static(value))));
            }
            etag_of(&headers).is_some()
        };
        let at = Some("Sat, 21 Nov 2026 07:41:55 GMT");
        assert!(counts(at, Some("Sat, 21 Nov 2026 07:41:57 GMT")));
        assert!(!counts(at, Some("Sat, 21 Nov 2026 07:41:56 GMT")));
        assert!(!counts(at, at));
        assert!(!counts(at, Some("Sat, 21 Nov 2026 06:00:00 GMT")));
        assert!(!counts(at, Some("yesterday")));
        assert!(!counts(at, None));
        assert!(!counts(None, at));
    }
}
