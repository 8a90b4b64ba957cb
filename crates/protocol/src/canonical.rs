//! JSON in one form only (RFC 8785, JCS), so that the same value gives the same bytes on both sides.

use serde_json::{Number, Value};

/// `value` in its one form. Integers beyond 2^53, which RFC 8785 does not cover, are written exactly.
#[must_use]
pub fn canonical(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => out.push_str(&value.to_string()),
        Value::Number(value) => out.push_str(&number(value)),
        Value::Array(list) => {
            out.push('[');
            for (at, value) in list.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write(value, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
            out.push('{');
            for (at, (name, value)) in members.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(name.as_str()).to_string());
                out.push(':');
                write(value, out);
            }
            out.push('}');
        }
    }
}

/// As ECMAScript writes numbers.
fn number(value: &Number) -> String {
    let float = match value.as_f64() {
        Some(float) if !value.is_i64() && !value.is_u64() => float,
        _ => return value.to_string(),
    };
    if float == 0.0 {
        return "0".to_owned();
    }
    // The shortest digits that read back as the same number, and the power of ten of the first one.
    let shortest = format!("{:e}", float.abs());
    let (digits, power) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let digits = digits.replace('.', "");
    let point = power.parse::<i32>().unwrap_or_default() + 1;
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or_default());
    let split = |at: i32| digits.split_at(usize::try_from(at).unwrap_or_default());
    let text = match point {
        1..=21 if count <= point => format!("{digits}{}", zeros(point - count)),
        1..=21 => {
            let (whole, rest) = split(point);
            format!("{whole}.{rest}")
        }
        -5..=0 => format!("0.{}{digits}", zeros(-point)),
        _ => {
            let (first, rest) = split(1);
            let rest = if rest.is_empty() { String::new() } else { format!(".{rest}") };
            format!("{first}{rest}e{:+}", point - 1)
        }
    };
    if float < 0.0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> String {
        canonical(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn members_are_in_the_order_of_utf_16_and_nothing_is_between_them() {
        let text = r#"{ "\ufb33": 1, "😀": 2, "\u0080": 3, "a": [ 1 , {"b": null, "a": true} ], "": "\u000f\n/\u007f" }"#;
        let expected = "{\"\":\"\\u000f\\n/\u{7f}\",\"a\":[1,{\"a\":true,\"b\":null}],\"\u{80}\":3,\"😀\":2,\"\u{fb33}\":1}";
        assert_eq!(of(text), expected);
    }

    #[test]
    fn numbers_are_written_as_in_the_samples_of_rfc_8785() {
        for (bits, text) in [
            (0x0000_0000_0000_0000, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
        ] {
            assert_eq!(canonical(&Value::from(f64::from_bits(bits))), text);
        }
        assert_eq!(
            of("[1.0, 1e2, 18446744073709551615, -9007199254740993]"),
            "[1,100,18446744073709551615,-9007199254740993]"
        );
    }
}
