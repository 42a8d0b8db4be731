//! The 503 `overloaded`, prepared once: refusing must cost far less than serving, or the refusals themselves overload the node.

use crate::core::problem::{Code, Problem};
use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use warp::reply::Response;

/// Prepared bodies, one for each number of seconds in `Retry-After`.
#[derive(Debug)]
pub(super) struct OverloadedResponses {
    bodies: Box<[(u32, Bytes)]>,
}

fn problem(seconds: u32) -> Problem {
    Problem::new(Code::Overloaded).detail("too many requests are in flight").retry_after(seconds)
}

impl OverloadedResponses {
    pub(super) fn new(seconds_max: u32) -> Self {
        // An hour is more than any setting needs; a longer one gets the last body.
        let bodies =
            (1..=seconds_max.clamp(1, 3_600)).map(|seconds| (seconds, Bytes::from(problem(seconds).to_json())));
        Self { bodies: bodies.collect() }
    }

    /// 503 `overloaded` with this `Retry-After`.
    pub(super) fn overloaded(&self, seconds: u32) -> Response {
        let index = usize::try_from(seconds.saturating_sub(1)).unwrap_or(usize::MAX);
        let Some((seconds, body)) = self.bodies.get(index).or_else(|| self.bodies.last()) else {
            return problem(seconds).into_response();
        };
        let mut response = Response::new(body.clone().into());
        *response.status_mut() = Code::Overloaded.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(RETRY_AFTER, HeaderValue::from(*seconds));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn a_prepared_response_equals_the_problem_it_stands_for() {
        let responses = OverloadedResponses::new(8);
        for (asked, given) in [(1, 1), (8, 8), (99, 8)] {
            let (prepared, made) = (responses.overloaded(asked), problem(given).into_response());
            assert_eq!((prepared.status(), prepared.headers()), (made.status(), made.headers()));
            let (prepared, made) =
                (prepared.into_body().collect().await.unwrap(), made.into_body().collect().await.unwrap());
            assert_eq!(prepared.to_bytes(), made.to_bytes());
        }
    }
}
