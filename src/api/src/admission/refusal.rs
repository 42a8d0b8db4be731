//! The answer of a full house, made once: refusing must cost far less than serving, or refusing is what fells the node.

use crate::problem::{Code, Problem};
use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use warp::reply::Response;

/// Ready answers, one for each number of seconds.
#[derive(Debug)]
pub(super) struct Refusals {
    bodies: Box<[(u32, Bytes)]>,
}

fn problem(seconds: u32) -> Problem {
    Problem::new(Code::Overloaded).detail("too many requests are under way").retry_after(seconds)
}

impl Refusals {
    pub(super) fn new(seconds_max: u32) -> Self {
        // Nobody sets more than minutes; beyond that the longest answer stands for all.
        let bodies =
            (1..=seconds_max.clamp(1, 3_600)).map(|seconds| (seconds, Bytes::from(problem(seconds).to_json())));
        Self { bodies: bodies.collect() }
    }

    /// 503 `overloaded`.
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
    async fn a_ready_answer_is_the_problem_it_stands_for() {
        let refusals = Refusals::new(8);
        for (asked, told) in [(1, 1), (8, 8), (99, 8)] {
            let (ready, made) = (refusals.overloaded(asked), problem(told).into_response());
            assert_eq!((ready.status(), ready.headers()), (made.status(), made.headers()));
            let (ready, made) = (ready.into_body().collect().await.unwrap(), made.into_body().collect().await.unwrap());
            assert_eq!(ready.to_bytes(), made.to_bytes());
        }
    }
}
