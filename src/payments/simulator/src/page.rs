//! The page of the simulated bank, where a shopper approves or declines a payment. The process and a node show the same one.
//!
//! ```text
//! GET ─► what is to be paid, two buttons ─POST─► acted ─► 303 to the shop's page, or a link to it
//! ```
//!
//! The shop's page (`return_url`) comes from whoever began the payment. So the browser is sent there unasked only if it is on the host of this page or
//! on the shopper's own machine; otherwise the page names the host and leaves the step to the shopper.

use super::engine::ShopperAction;
use super::provider::{ActionResult, LedgerLost, SimulatedProvider, WaitingAction};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use doorbuster_domain::money::Money;
use doorbuster_domain::payment::{ProviderAnswer, Reference};
use doorbuster_domain::web_address::WebAddress;
use sha2::{Digest, Sha256};
use std::net::IpAddr;

/// What the page loads and does: its own style, its own form and the step to `return_url`.
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:26rem;margin:3rem auto;padding:0 1rem}\
button{font:inherit;padding:.5rem 1.2rem;margin-right:.6rem}code{overflow-wrap:anywhere}:root{color-scheme:light dark}";

/// A request for the page, or the post of one of its buttons.
#[derive(Debug, Clone, Copy)]
pub struct PageRequest<'a> {
    /// The last segment of its path: the reference of the authorization.
    pub reference: &'a str,
    /// Its `Host`.
    pub host: &'a str,
    /// Its `Origin`, if it has one.
    pub origin: Option<&'a str>,
    /// Its `Sec-Fetch-Site`, if it has one.
    pub site: Option<&'a str>,
    /// The body of a post; `None`: a GET.
    pub posted: Option<&'a [u8]>,
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The status.
    pub status: u16,
    /// Where the browser is sent, with 303.
    pub location: Option<String>,
    /// `Content-Security-Policy`.
    pub policy: String,
    /// The page.
    pub html: String,
}

impl Page {
    /// The headers of every answer, beside `Content-Security-Policy` and `Location`.
    ///
    /// `same-origin`: with `no-referrer` browsers would post the buttons with `Origin: null`.
    pub const HEADERS: [(&'static str, &'static str); 4] = [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
    ];
}

impl SimulatedProvider {
    /// Answers a request for the page.
    pub async fn page(&self, request: PageRequest<'_>) -> Result<Page, LedgerLost> {
        let reference = Reference::parse(request.reference);
        let waiting = reference.and_then(|reference| Some((reference, self.waiting_action(reference)?)));
        let Some((reference, waiting)) = waiting else {
            return Ok(page(404, None, "<h1>Simulated bank</h1><p>There is no such payment.</p>"));
        };
        let Some(posted) = request.posted else { return Ok(shown(reference, &waiting, request.host)) };
        if !is_own_form(&request) {
            return Ok(page(403, None, "<h1>Simulated bank</h1><p>The request came from another page.</p>"));
        }
        let act = match posted {
            b"outcome=ok" => ShopperAction::Ok,
            b"outcome=fail" => ShopperAction::Fail,
            _ => return Ok(page(422, None, "<h1>Simulated bank</h1><p>outcome is ok or fail</p>")),
        };
        let ActionResult { answer, .. } = self.act(reference, act).await?;
        let after = WaitingAction { answer: answer.unwrap_or(waiting.answer), ..waiting };
        let mut shown = shown(reference, &after, request.host);
        let back = after.return_url.as_deref().filter(|url| leads_back(url, request.host));
        if let Some(back) = back {
            (shown.status, shown.location) = (303, Some(back.to_owned()));
        }
        Ok(shown)
    }
}

/// Was the button pressed on this page? Another site's form has another origin.
fn is_own_form(request: &PageRequest<'_>) -> bool {
    let is_own = |origin: &str| WebAddress::parse(origin).is_some_and(|address| address.authority == request.host);
    request.origin.is_none_or(is_own) && request.site.is_none_or(|site| matches!(site, "same-origin" | "none"))
}

/// Is it on the host of this page, or on the shopper's own machine?
fn leads_back(url: &str, host: &str) -> bool {
    let Some(address) = WebAddress::parse(url) else { return false };
    let own = format!("http://{host}");
    let is_own = WebAddress::parse(&own).is_some_and(|own| own.host.eq_ignore_ascii_case(address.host));
    let bare = address.host.trim_matches(['[', ']']);
    is_own || bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn shown(reference: Reference, waiting: &WaitingAction, host: &str) -> Page {
    let back = waiting.return_url.as_deref().and_then(|url| Some((url, WebAddress::parse(url)?)));
    let link = back.map_or_else(String::new, |(url, address)| {
        format!("<p><a rel=\"noreferrer\" href=\"{}\">Back to {}</a></p>", escaped(url), escaped(address.authority))
    });
    let what = match &waiting.answer {
        ProviderAnswer::RequiresAction { .. } => {
            "<form method=post><button name=outcome value=ok>Approve</button><button name=outcome value=fail>Decline</button></form>".to_owned()
        }
        ProviderAnswer::Authorized { .. } => format!("<p>Approved.</p>{link}"),
        ProviderAnswer::Declined { code, .. } => format!("<p>Declined: {}.</p>{link}", escaped(code)),
        _ => format!("<p>Nothing is left to do here.</p>{link}"),
    };
    let body = format!(
        "<h1>Simulated bank</h1><p>A test payment of <strong>{}</strong>. No money moves.</p><p><code>{reference}</code></p>{what}",
        amount_text(waiting.amount),
    );
    // Browsers hold the redirect after a form to `form-action`, too.
    let action = back.filter(|(url, _)| leads_back(url, host)).map(|(_, address)| address);
    page(200, action, &body)
}

fn page(status: u16, action: Option<WebAddress<'_>>, body: &str) -> Page {
    let style = STANDARD.encode(Sha256::digest(STYLE));
    let back = action.map_or_else(String::new, |address| format!(" {}://{}", address.scheme, address.authority));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'{back}; base-uri 'none'; frame-ancestors 'none'"
    );
    let html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width,initial-scale=1\">\
         <title>Simulated bank</title><style>{STYLE}</style>{body}</html>"
    );
    Page { status, location: None, policy, html }
}

/// An amount as people write it: `134.98 GBP`.
fn amount_text(money: Money) -> String {
    let digits = usize::from(money.currency.digits());
    let text = format!("{:0>width$}", money.amount, width = digits.saturating_add(1));
    let (whole, part) = text.split_at(text.len().saturating_sub(digits));
    let point = if digits == 0 { "" } else { "." };
    format!("{whole}{point}{part} {}", money.currency.as_str())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behaviour::Behaviour;
    use crate::provider::LedgerStorage;
    use crate::testing::{authorize, order};
    use crate::webhook_sender::WebhookSender;
    use doorbuster_clock::{SharedClock, SystemClock};
    use doorbuster_domain::money::Currency;
    use std::sync::Arc;

    const HOST: &str = "shop.example:8080";

    /// A provider that was asked to authorize a payment that needs the shopper.
    async fn asked(return_url: Option<&str>) -> (SimulatedProvider, String) {
        let clock: SharedClock = Arc::new(SystemClock);
        let sender = WebhookSender::disabled(Arc::clone(&clock));
        let (provider, _) =
            SimulatedProvider::open(Behaviour::INSTANT, 1, "http://bank", LedgerStorage::Volatile, sender, clock)
                .unwrap();
        let mut call = authorize(order(1), "tok_action", 13_498);
        call.return_url = return_url.map(Into::into);
        provider.call(&call).await.unwrap();
        (provider, call.reference.to_string())
    }

    fn request<'a>(reference: &'a str, posted: Option<&'a [u8]>) -> PageRequest<'a> {
        PageRequest {
            reference,
            host: HOST,
            origin: Some("http://shop.example:8080"),
            site: Some("same-origin"),
            posted,
        }
    }

    #[tokio::test]
    async fn the_page_says_what_is_to_be_paid_and_then_what_became_of_it() {
        let (provider, reference) = asked(None).await;
        let page = provider.page(request(&reference, None)).await.unwrap();
        assert_eq!(page.status, 200);
        assert!(page.html.contains("134.98 GBP") && page.html.contains("Approve"), "{}", page.html);
        for _ in 0..2 {
            let page = provider.page(request(&reference, Some(b"outcome=ok"))).await.unwrap();
            assert_eq!((page.status, page.location), (200, None));
            assert!(page.html.contains("Approved."), "{}", page.html);
        }
        assert_eq!(provider.page(request("ord_x.authorize.1.1", None)).await.unwrap().status, 404);
        assert_eq!(provider.page(request(&reference, Some(b"outcome=all"))).await.unwrap().status, 422);
    }

    #[tokio::test]
    async fn the_browser_is_sent_back_to_its_own_host_and_to_no_other() {
        for (url, is_sent) in [
            ("http://shop.example/thanks", true),
            ("https://SHOP.example:8443/thanks?order=1", true),
            ("http://localhost:3000/back", true),
            ("http://127.0.0.1/back", true),
            ("https://evil.example/", false),
            ("https://shop.example.evil.example/", false),
            ("https://shop.example@evil.example/", false),
            ("//evil.example/", false),
            ("javascript:alert(1)", false),
        ] {
            let (provider, reference) = asked(Some(url)).await;
            let page = provider.page(request(&reference, Some(b"outcome=ok"))).await.unwrap();
            assert_eq!(page.location.as_deref(), is_sent.then_some(url), "{url}");
            assert_eq!(page.status, if is_sent { 303 } else { 200 }, "{url}");
            assert!(is_sent || !page.policy.contains("evil"), "{}", page.policy);
            assert!(!page.html.contains("href=\"javascript:"), "{}", page.html);
        }
    }

    #[tokio::test]
    async fn another_sites_form_presses_no_button() {
        let (provider, reference) = asked(None).await;
        let own = request(&reference, Some(b"outcome=ok"));
        for foreign in [
            PageRequest { origin: Some("https://evil.example"), ..own },
            PageRequest { origin: Some("null"), ..own },
            PageRequest { origin: None, site: Some("cross-site"), ..own },
            PageRequest { origin: None, site: Some("same-site"), ..own },
        ] {
            assert_eq!(provider.page(foreign).await.unwrap().status, 403, "{foreign:?}");
        }
        let page = provider.page(request(&reference, None)).await.unwrap();
        assert!(page.html.contains("Approve"), "nothing was decided");
    }

    #[tokio::test]
    async fn a_text_from_outside_is_text_and_the_policy_names_the_style() {
        let (provider, reference) = asked(Some("https://evil.example/?a=1&b='x'")).await;
        let page = provider.page(request(&reference, Some(b"outcome=fail"))).await.unwrap();
        assert!(page.html.contains("href=\"https://evil.example/?a=1&amp;b=&#39;x&#39;\""), "{}", page.html);
        assert!(page.policy.starts_with("default-src 'none'; style-src 'sha256-"), "{}", page.policy);
        assert!(!page.html.contains("<script"), "{}", page.html);
    }

    #[test]
    fn amounts_have_the_digits_of_their_currency() {
        let text = |amount, code| amount_text(Money { amount, currency: Currency::parse(code).unwrap() });
        assert_eq!(text(13_498, "GBP"), "134.98 GBP");
        assert_eq!(text(5, "GBP"), "0.05 GBP");
        assert_eq!(text(500, "JPY"), "500 JPY");
        assert_eq!(text(1, "KWD"), "0.001 KWD");
    }
}
