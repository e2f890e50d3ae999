//! The words of PromQL. In: an expression. Out: its tokens, or what is none.

/// One word of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Number(f64),
    /// Milliseconds.
    Duration(i64),
    /// A metric, label, function or keyword.
    Name(String),
    Text(String),
    Sign(&'static str),
}

/// The longer ones first.
const SIGNS: [&str; 22] = [
    "==", "!=", "=~", "!~", "<=", ">=", "<", ">", "=", "(", ")", "{", "}", "[", "]", ",", "+", "-", "*", "/",
    "%", "^",
];

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, after) = match first {
            '#' => {
                rest = rest.split_once('\n').map_or("", |(_, after)| after).trim_start();
                continue;
            }
            '"' | '\'' | '`' => quoted(rest, first)?,
            '0'..='9' | '.' => number(rest)?,
            'a'..='z' | 'A'..='Z' | '_' | ':' => name(rest),
            _ => {
                let sign = SIGNS.into_iter().find(|sign| rest.starts_with(*sign));
                let sign = sign.ok_or_else(|| format!("`{first}` has no equivalent"))?;
                (Token::Sign(sign), &rest[sign.len()..])
            }
        };
        tokens.push(token);
        rest = after.trim_start();
    }
    Ok(tokens)
}

fn name(text: &str) -> (Token, &str) {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    let (name, after) = text.split_at(end.unwrap_or(text.len()));
    let token = match name.to_ascii_lowercase().as_str() {
        "inf" => Token::Number(f64::INFINITY),
        "nan" => Token::Number(f64::NAN),
        _ => Token::Name(name.to_owned()),
    };
    (token, after)
}

/// `5`, `1.5e9`, `0x1F`, and `5m` or `1h30m`.
fn number(text: &str) -> Result<(Token, &str), String> {
    let mut end = 0;
    for (at, c) in text.char_indices() {
        let is_exponent = matches!(c, '+' | '-')
            && text[..at].ends_with(['e', 'E'])
            && text[..at].bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E'));
        if !(c.is_ascii_alphanumeric() || c == '.' || is_exponent) {
            break;
        }
        end = at + c.len_utf8();
    }
    let (word, after) = text.split_at(end);
    let hex = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X"));
    let token = match (word.parse::<f64>(), hex) {
        (Ok(number), _) => Token::Number(number),
        (Err(_), Some(digits)) => {
            let number = u64::from_str_radix(digits, 16).map_err(|_| format!("`{word}` is no number"))?;
            Token::Number(number as f64)
        }
        (Err(_), None) => {
            Token::Duration(duration(word).ok_or_else(|| format!("`{word}` is no number and no duration"))?)
        }
    };
    Ok((token, after))
}

/// A duration as Prometheus writes it, in milliseconds: `5m`, `1h30m`, `2w`.
pub(super) fn duration(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut all = 0_i64;
    while !rest.is_empty() {
        let unit = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(unit);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            "y" => 365 * 86_400_000,
            _ => return None,
        };
        all = number.parse::<i64>().ok()?.checked_mul(millis)?.checked_add(all)?;
        rest = after;
    }
    (!text.is_empty()).then_some(all)
}

fn quoted(text: &str, quote: char) -> Result<(Token, &str), String> {
    let mut value = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            end if end == quote => return Ok((Token::Text(value), &text[at + 1..])),
            '\\' if quote != '`' => match chars.next().map(|(_, c)| c) {
                Some('n') => value.push('\n'),
                Some('t') => value.push('\t'),
                Some(c @ ('\\' | '"' | '\'')) => value.push(c),
                other => return Err(format!("an escape `\\{}` in a text", other.unwrap_or(' '))),
            },
            other => value.push(other),
        }
    }
    Err("a text without its closing quote".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_told_apart() {
        use super::Token::{Duration, Name, Number, Sign, Text};
        let found = tokens("rate(a:b{c!~\"d\\\"e\"}[1h30m]) >= 1.5e+3 # why\n / 0x10 - .5").unwrap();
        let wanted = [
            Name("rate".into()),
            Sign("("),
            Name("a:b".into()),
            Sign("{"),
            Name("c".into()),
            Sign("!~"),
            Text("d\"e".into()),
            Sign("}"),
            Sign("["),
            Duration(5_400_000),
            Sign("]"),
            Sign(")"),
            Sign(">="),
            Number(1_500.0),
            Sign("/"),
            Number(16.0),
            Sign("-"),
            Number(0.5),
        ];
        assert_eq!(found, wanted);
        assert_eq!(tokens("1-2").unwrap(), [Number(1.0), Sign("-"), Number(2.0)]);
    }

    #[test]
    fn what_is_no_word_is_told() {
        for bad in ["a @ 5", "\"open", "5x", "\"\\q\"", "0xZZ", "a ~ b", "\u{e9}"] {
            assert!(tokens(bad).is_err(), "{bad}: {:?}", tokens(bad));
        }
    }

    #[test]
    fn durations_are_prometheus_own() {
        for (text, millis) in
            [("5m", Some(300_000)), ("1h30m", Some(5_400_000)), ("2w", Some(1_209_600_000)), ("0s", Some(0))]
        {
            assert_eq!(duration(text), millis, "{text}");
        }
        for bad in ["", "5", "m", "5q", "5m3", "99999999999999y"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }
}
