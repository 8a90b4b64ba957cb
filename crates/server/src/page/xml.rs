//! A problem as XML: the members of its JSON, in the form that RFC 9457 (appendix B) gives for extensions.
//!
//! A member is an element of its name, a list a sequence of elements `i`. A name that XML does not allow stands in
//! attribute `name` of an element `member`.

use serde_json::Value;

use super::escape::markup;

const NAMESPACE: &str = "urn:ietf:rfc:7807";

/// The JSON of a problem, in XML.
pub(super) fn write(problem: &Value) -> String {
    let mut out = String::with_capacity(4096);
    out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<problem xmlns=\"");
    out.push_str(NAMESPACE);
    out.push_str("\">");
    content(problem, &mut out);
    out.push_str("</problem>\n");
    out
}

fn content(value: &Value, out: &mut String) {
    match value {
        Value::Null => {}
        Value::Bool(_) | Value::Number(_) => out.push_str(&value.to_string()),
        Value::String(text) => out.push_str(&markup(text)),
        Value::Array(items) => {
            for item in items {
                element("i", "i", item, out);
            }
        }
        Value::Object(members) => {
            for (name, value) in members {
                if is_name(name) {
                    element(name, name, value, out);
                } else {
                    element(&format!("member name=\"{}\"", markup(name)), "member", value, out);
                }
            }
        }
    }
}

fn element(open: &str, close: &str, value: &Value, out: &mut String) {
    ["<", open, ">"].into_iter().for_each(|part| out.push_str(part));
    content(value, out);
    ["</", close, ">"].into_iter().for_each(|part| out.push_str(part));
}

/// Whether it is a name of an element without a colon, of ASCII.
fn is_name(name: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_';
    let is_reserved = name.get(..3).is_some_and(|head| head.eq_ignore_ascii_case("xml"));
    name.bytes().next().is_some_and(is_first)
        && !is_reserved
        && name.bytes().all(|byte| is_first(byte) || byte.is_ascii_digit() || b"-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_become_elements_and_lists_become_items() {
        let xml = write(&json!({"a": 1, "b": ["x", true], "eip155:1": {"c": null}, "xmlish": "<&>"}));
        assert_eq!(
            xml,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<problem xmlns=\"urn:ietf:rfc:7807\"><a>1</a>\
             <b><i>x</i><i>true</i></b><member name=\"eip155:1\"><c></c></member>\
             <member name=\"xmlish\">&lt;&amp;&gt;</member></problem>\n"
        );
    }

    #[test]
    fn t41_no_name_or_text_becomes_markup() {
        let xml = write(&json!({"a><b": "</problem>", "\"x": "\u{0}\u{1b}", "": "e"}));
        for part in [
            "<member name=\"a&gt;&lt;b\">&lt;/problem&gt;</member>",
            "<member name=\"&quot;x\">\u{fffd}\u{fffd}</member>",
            "<member name=\"\">e</member>",
        ] {
            assert!(xml.contains(part), "{xml}");
        }
    }
}
