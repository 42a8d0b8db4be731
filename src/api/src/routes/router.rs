//! From a method and a path to a route of the table.

use super::Route;
use compact_str::CompactString;
use hyper::Method;

/// The segments that stood for `{…}`, decoded, and the path they make.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Params {
    segments: [CompactString; 2],
    count: usize,
}

impl Params {
    /// The first.
    #[must_use]
    pub fn first(&self) -> &str {
        let [first, _] = &self.segments;
        first
    }

    /// The second.
    #[must_use]
    pub fn second(&self) -> &str {
        let [_, second] = &self.segments;
        second
    }

    fn push(&mut self, segment: CompactString) {
        if let Some(slot) = self.segments.get_mut(self.count) {
            *slot = segment;
            self.count += 1;
        }
    }

    /// The route's path with the segments in it: the same for every way to encode them.
    #[must_use]
    pub fn path_of(&self, route: &Route) -> CompactString {
        if self.count == 0 {
            return CompactString::const_new(route.path);
        }
        let mut segments = self.segments.iter();
        let mut path = CompactString::default();
        for part in route.path.split('/').skip(1) {
            path.push('/');
            path.push_str(if part.starts_with('{') { segments.next().map_or("", |text| text) } else { part });
        }
        path
    }
}

/// What a method and path lead to.
#[derive(Debug)]
pub enum Found {
    /// A route.
    Route(&'static Route, Params),
    /// The path exists, the method does not: these do.
    Methods(Vec<&'static str>),
    /// A segment that cannot be decoded.
    Undecodable,
    /// Nothing.
    Nothing,
}

#[derive(Debug, Default)]
struct Node {
    literals: Vec<(&'static str, Node)>,
    param: Option<Box<Node>>,
    routes: Vec<&'static Route>,
}

/// The table as a tree of segments.
#[derive(Debug, Default)]
pub struct Router {
    root: Node,
}

impl Router {
    /// A router over a table.
    ///
    /// # Panics
    /// Never: what it finds it has just found or made.
    #[must_use]
    pub fn new(table: &'static [Route]) -> Self {
        let mut root = Node::default();
        for route in table {
            let mut node = &mut root;
            for part in route.path.split('/').skip(1) {
                node = if part.starts_with('{') {
                    node.param.get_or_insert_with(Box::default)
                } else {
                    let known = node.literals.iter().position(|(literal, _)| *literal == part);
                    let at = known.unwrap_or_else(|| {
                        node.literals.push((part, Node::default()));
                        node.literals.len() - 1
                    });
                    &mut node.literals.get_mut(at).expect("just found or pushed").1
                };
            }
            node.routes.push(route);
        }
        Self { root }
    }

    /// The route of a request.
    #[must_use]
    pub fn find(&self, method: &Method, path: &str) -> Found {
        let Some(path) = path.strip_prefix('/') else { return Found::Nothing };
        let mut node = &self.root;
        let mut params = Params::default();
        for part in path.split('/') {
            if let Some((_, child)) = node.literals.iter().find(|(literal, _)| *literal == part) {
                node = child;
            } else if let Some(child) = node.param.as_deref() {
                node = child;
                let Some(decoded) = decode(part) else { return Found::Undecodable };
                params.push(decoded);
            } else {
                return Found::Nothing;
            }
        }
        // A HEAD is a GET whose body the server leaves out.
        let wanted = if method == Method::HEAD { "GET" } else { method.as_str() };
        match node.routes.iter().find(|route| route.method == wanted) {
            Some(route) => Found::Route(route, params),
            None if node.routes.is_empty() => Found::Nothing,
            None => Found::Methods(node.routes.iter().map(|route| route.method).collect()),
        }
    }
}

/// A segment without its percent-encoding; `None`: cut off, no hexadecimal digits, or not UTF-8.
pub(crate) fn decode(segment: &str) -> Option<CompactString> {
    if !segment.contains('%') {
        return Some(segment.into());
    }
    let mut decoded = Vec::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let plain = if byte == b'%' {
            let high = char::from(bytes.next()?).to_digit(16)?;
            let low = char::from(bytes.next()?).to_digit(16)?;
            u8::try_from(high * 16 + low).ok()?
        } else {
            byte
        };
        decoded.push(plain);
    }
    CompactString::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::super::ROUTES;
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_route_is_found_and_named_once() {
        let router = Router::new(ROUTES);
        let mut seen = BTreeSet::new();
        for route in ROUTES {
            assert!(seen.insert((route.method, route.path)), "{} {}", route.method, route.path);
            let path = route.path.replace("{id}", "x").replace("{sku}", "y").replace("{provider}", "z");
            let method: Method = route.method.parse().unwrap();
            match router.find(&method, &path) {
                Found::Route(found, _) => assert_eq!(found.op, route.op),
                other => panic!("{path}: {other:?}"),
            }
            assert!(!route.answers.is_empty(), "{path} has no answer");
        }
    }

    #[test]
    fn an_encoded_path_is_the_same_path() {
        let router = Router::new(ROUTES);
        let path = |text: &str| match router.find(&Method::POST, text) {
            Found::Route(route, params) => params.path_of(route),
            other => panic!("{other:?}"),
        };
        assert_eq!(path("/v1/inventory/A%20B/receipts"), "/v1/inventory/A B/receipts");
        assert_eq!(path("/v1/inventory/%41%20B/receipts"), "/v1/inventory/A B/receipts");
    }

    #[test]
    fn a_wrong_method_is_told_the_right_ones() {
        let router = Router::new(ROUTES);
        assert!(matches!(router.find(&Method::TRACE, "/v1/orders"), Found::Methods(methods) if methods == ["POST"]));
        assert!(matches!(router.find(&Method::GET, "/v1/order"), Found::Nothing));
        assert!(matches!(router.find(&Method::GET, "/v1/orders/"), Found::Route(..)));
        assert!(matches!(router.find(&Method::GET, "/v1/orders/%ff"), Found::Undecodable));
    }
}
