//! Answers to reads, compressed for callers that ask for it (`Accept-Encoding`, RFC 9110, 12.5.3): with `br` or `gzip`, above a size.
//!
//! An answer to a write is sent as it is: orders are placed on the quickest way, and what is secret (an order's token) never shares a compressed answer
//! with what a caller chose. So is a stream, and what is so large that compressing it would hold up the core's other callers.
//!
//! The `ETag` of a compressed answer says its coding beside its version.

use crate::core::etag;
use crate::core::headers::{WHOLE, quality};
use brotli::enc::BrotliEncoderParams;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use hyper::body::Body as _;
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, VARY};
use hyper::{Method, StatusCode};
use std::io::{self, Write};
use warp::reply::Response;

/// The largest body that is compressed, in bytes: a few milliseconds of one core.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// The most codings of one `Accept-Encoding` that are read.
const CODINGS_MAX: usize = 16;
/// Quickest settings: most of what can be saved in JSON is saved by them, and a core serves many callers.
const GZIP_LEVEL: u32 = 1;
const BROTLI_QUALITY: i32 = 1;
/// Two to this power are the bytes that `br` looks back over.
const BROTLI_WINDOW: i32 = 18;

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Brotli,
    Gzip,
}

impl Coding {
    const fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    fn encode(self, body: &[u8]) -> io::Result<Vec<u8>> {
        let mut coded = Vec::with_capacity(body.len() / 4);
        match self {
            Self::Brotli => {
                let params = BrotliEncoderParams {
                    quality: BROTLI_QUALITY,
                    lgwin: BROTLI_WINDOW,
                    size_hint: body.len(),
                    ..BrotliEncoderParams::default()
                };
                brotli::BrotliCompress(&mut &*body, &mut coded, &params)?;
                Ok(coded)
            }
            Self::Gzip => {
                let mut encoder = GzEncoder::new(coded, Compression::new(GZIP_LEVEL));
                encoder.write_all(body)?;
                encoder.finish()
            }
        }
    }
}

/// The coding that a caller wants most; `None`: the answer as it is. Of two that are wanted alike, `br`.
pub(super) fn wanted(method: &Method, headers: &HeaderMap) -> Option<Coding> {
    if !headers.contains_key(hyper::header::ACCEPT_ENCODING) || !matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let (mut brotli, mut gzip, mut identity, mut others) = (None, None, None, None);
    let lines = headers.get_all(hyper::header::ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    for part in lines.flat_map(|line| line.split(',')).take(CODINGS_MAX) {
        let (name, parameters) = part.split_once(';').unwrap_or((part, ""));
        let weight = weight_of(parameters);
        let name = name.trim();
        let slot = match () {
            () if name.eq_ignore_ascii_case("br") => &mut brotli,
            () if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") => &mut gzip,
            () if name.eq_ignore_ascii_case("identity") => &mut identity,
            () if name == "*" => &mut others,
            () => continue,
        };
        *slot = Some(weight);
    }
    let brotli = brotli.or(others).unwrap_or(0);
    let gzip = gzip.or(others).unwrap_or(0);
    // Without a word about it, an answer as it is will do, and is wanted least.
    let (most, coding) = if brotli >= gzip { (brotli, Coding::Brotli) } else { (gzip, Coding::Gzip) };
    (most > 0 && most >= identity.unwrap_or(0)).then_some(coding)
}

/// `;q=0.8` in thousandths; 1000 where there is none, 0 where it cannot be read.
fn weight_of(parameters: &str) -> u16 {
    let said = parameters.split(';').filter_map(|one| one.split_once('='));
    let said = said.map(|(name, said)| (name.trim(), said.trim())).find(|(name, _)| name.eq_ignore_ascii_case("q"));
    said.map_or(WHOLE, |(_, said)| quality(said).unwrap_or(0))
}

/// The answer in the wanted coding, if it is one to compress. `bytes_min`: answers of fewer bytes are sent as they are; 0: all are.
pub(super) fn apply(mut response: Response, wanted: Option<Coding>, bytes_min: usize) -> Response {
    let length = response.body().size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok());
    let Some(length) = length.filter(|length| bytes_min > 0 && (bytes_min..=BODY_BYTES_MAX).contains(length)) else {
        return response;
    };
    if response.status() != StatusCode::OK || !is_text(&response) || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    // Whoever asks otherwise gets other bytes.
    response.headers_mut().append(VARY, HeaderValue::from_static("Accept-Encoding"));
    let Some(coding) = wanted else { return response };
    let body = std::mem::replace(response.body_mut(), Bytes::new().into());
    // What has a length is there already.
    let Some(Ok(body)) = body.collect().now_or_never().map(|collected| collected.map(|all| all.to_bytes())) else {
        tracing::error!(length, "the body of an answer is not there");
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return response;
    };
    match coding.encode(&body) {
        Ok(coded) if coded.len() < length => {
            response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
            let tag = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok());
            let tag = tag.map(|tag| etag::in_coding(tag, coding.name()));
            if let Some(tag) = tag.and_then(|tag| HeaderValue::from_str(&tag).ok()) {
                response.headers_mut().insert(ETAG, tag);
            }
            *response.body_mut() = Bytes::from(coded).into();
        }
        Ok(_) | Err(_) => *response.body_mut() = body.into(),
    }
    response
}

fn is_text(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.starts_with("text/") || kind.contains("json") || kind.contains("javascript")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{ACCEPT_ENCODING, CONTENT_LENGTH};

    fn asks(lines: &[&'static str]) -> Option<Coding> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_static(line));
        }
        wanted(&Method::GET, &headers)
    }

    fn answer(kind: &'static str, body: &[u8]) -> Response {
        let mut response = Response::new(Bytes::copy_from_slice(body).into());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }

    fn body_of(response: Response) -> Bytes {
        response.into_body().collect().now_or_never().unwrap().unwrap().to_bytes()
    }

    #[test]
    fn the_coding_is_the_one_that_is_wanted_most() {
        let (br, gzip) = (Some(Coding::Brotli), Some(Coding::Gzip));
        for (lines, coding) in [
            (&["gzip"][..], gzip),
            (&["gzip, br"], br),
            (&["gzip;q=1, br;q=0.5"], gzip),
            (&["br;q=0.001"], br),
            (&["BR;Q=0.3", "x-gzip;q=0.30"], br),
            (&["*"], br),
            (&["br;q=0, *"], gzip),
            (&["gzip;q=0.5, identity"], None),
            (&["gzip, identity"], gzip),
            (&["gzip;q=0"], None),
            (&["identity"], None),
            (&["deflate, zstd"], None),
            (&[""], None),
            (&["gzip;q=2"], None),
            (&["gzip;q=0.5000"], None),
            (&["gzip;q=no"], None),
            (&["*;q=0"], None),
            (&[], None),
        ] {
            assert_eq!(asks(lines), coding, "{lines:?}");
        }
        let far = format!("{}gzip", "deflate,".repeat(CODINGS_MAX)).leak();
        assert_eq!(asks(&[far]), None, "no more are read");
        let headers = [(ACCEPT_ENCODING, HeaderValue::from_static("br"))].into_iter().collect();
        assert_eq!(wanted(&Method::POST, &headers), None, "an answer to a write is sent as it is");
    }

    #[test]
    fn what_is_compressed_reads_back_and_says_so() {
        let text = br#"{"sku":"NOVA-LOW-42","quantity":1},"#.repeat(200);
        for (coding, name) in [(Coding::Brotli, "br"), (Coding::Gzip, "gzip")] {
            let coded = apply(answer("application/json", &text), Some(coding), 1_000);
            assert_eq!(
                (coded.headers()[CONTENT_ENCODING].as_bytes(), &coded.headers()[VARY]),
                (name.as_bytes(), &HeaderValue::from_static("Accept-Encoding"))
            );
            assert!(!coded.headers().contains_key(CONTENT_LENGTH));
            let bytes = body_of(coded);
            assert!(bytes.len() * 5 < text.len(), "{} bytes", bytes.len());
            let mut read = Vec::new();
            match coding {
                Coding::Brotli => brotli::BrotliDecompress(&mut &*bytes, &mut read).unwrap(),
                Coding::Gzip => drop(io::copy(&mut flate2::read::GzDecoder::new(&*bytes), &mut read).unwrap()),
            }
            assert_eq!(read, text);
        }
        let plain = apply(answer("application/json", &text), None, 1_000);
        assert_eq!(
            (&plain.headers()[VARY], plain.headers().get(CONTENT_ENCODING)),
            (&HeaderValue::from_static("Accept-Encoding"), None)
        );
        assert_eq!(body_of(plain), text);
    }

    #[test]
    fn the_tag_of_a_compressed_answer_says_its_coding() {
        let text = "a".repeat(1_000);
        for (coding, tag) in [(None, "\"7\""), (Some(Coding::Brotli), "\"7-br\""), (Some(Coding::Gzip), "\"7-gzip\"")] {
            let mut plain = answer("application/json", text.as_bytes());
            plain.headers_mut().insert(ETAG, HeaderValue::from_static("\"7\""));
            assert_eq!(apply(plain, coding, 1).headers()[ETAG], tag);
        }
    }

    #[test]
    fn what_is_small_large_coded_no_text_or_no_success_is_sent_as_it_is() {
        let is_plain = |response: Response, bytes_min: usize| {
            let before = response.headers().clone();
            let after = apply(response, Some(Coding::Gzip), bytes_min);
            *after.headers() == before
        };
        let text = "a".repeat(1_000);
        assert!(!is_plain(answer("application/json", text.as_bytes()), 1_000));
        assert!(is_plain(answer("application/json", text.as_bytes()), 1_001), "small");
        assert!(is_plain(answer("application/json", text.as_bytes()), 0), "off");
        assert!(is_plain(answer("application/json", &vec![b'a'; BODY_BYTES_MAX + 1]), 1), "large");
        assert!(is_plain(answer("image/png", text.as_bytes()), 1), "no text");
        let mut coded = answer("text/plain", text.as_bytes());
        coded.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("br"));
        assert!(is_plain(coded, 1), "coded already");
        let mut refused = answer("application/problem+json", text.as_bytes());
        *refused.status_mut() = StatusCode::NOT_FOUND;
        assert!(is_plain(refused, 1), "no success");
        // What does not get shorter stays.
        let noise: Vec<u8> = (0..600_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        let kept = apply(answer("text/plain", &noise), Some(Coding::Brotli), 1);
        assert!(!kept.headers().contains_key(CONTENT_ENCODING));
        assert_eq!(body_of(kept), noise);
    }
}
