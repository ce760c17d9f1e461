//! The XML that query APIs speak, as a tree: elements and text, which is all they use.

use std::fmt::{self, Write};

/// An element: its children, or its text. Attributes mean nothing in these APIs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Element {
    pub name: String,
    pub text: String,
    pub children: Vec<Element>,
}

/// Elements inside each other at most; answers have about eight.
const DEPTH: usize = 64;

impl Element {
    /// An element with a text.
    pub fn leaf(name: &str, text: impl Into<String>) -> Element {
        Element { name: name.to_owned(), text: text.into(), children: Vec::new() }
    }

    /// An element with children.
    pub fn node(name: &str, children: Vec<Element>) -> Element {
        Element { name: name.to_owned(), text: String::new(), children }
    }

    /// The root element of a document; `None` where it is not well-formed.
    pub fn parse(document: &str) -> Option<Element> {
        let mut rest = document.trim_start();
        while rest.starts_with("<?") || rest.starts_with("<!") {
            rest = rest.split_once('>')?.1.trim_start();
        }
        read(&mut rest, 0)
    }

    /// The first element at a dotted path below this one.
    pub fn at(&self, path: &str) -> Option<&Element> {
        path.split('.').try_fold(self, |element, name| {
            element.children.iter().find(|child| child.name == name)
        })
    }

    /// The text of the first element at a dotted path.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.at(path).map(|element| element.text.as_str())
    }

    /// The elements of a list (`member` or `item` elements inside the one at the path).
    pub fn items(&self, path: &str) -> &[Element] {
        self.at(path).map_or(&[], |list| &list.children)
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{}>", self.name)?;
        for character in self.text.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                other => f.write_char(other)?,
            }
        }
        self.children.iter().try_for_each(|child| child.fmt(f))?;
        // An element with a namespace closes without it.
        write!(f, "</{}>", self.name.split(' ').next().unwrap_or_default())
    }
}

/// Reads the element at the start of `rest` and leaves what follows it.
fn read(rest: &mut &str, depth: usize) -> Option<Element> {
    let (tag, after) = rest.strip_prefix('<')?.split_once('>')?;
    *rest = after;
    let open = tag.strip_suffix('/').unwrap_or(tag);
    let name = open.split_whitespace().next()?;
    let mut element = Element::leaf(name, "");
    if tag.ends_with('/') {
        return Some(element);
    }
    loop {
        let (text, _) = rest.split_once('<')?;
        element.text.push_str(&unescape(text)?);
        *rest = &rest[text.len()..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            *rest = comment.split_once("-->")?.1;
        } else if let Some(end) = rest.strip_prefix("</") {
            let (closed, after) = end.split_once('>')?;
            *rest = after;
            if closed.trim_end() != name {
                return None;
            }
            // White space between children is layout.
            if !element.children.is_empty() {
                element.text.clear();
            }
            return Some(element);
        } else if depth < DEPTH {
            element.children.push(read(rest, depth + 1)?);
        } else {
            return None;
        }
    }
}

fn unescape(text: &str) -> Option<String> {
    let mut parts = text.split('&');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (entity, after) = part.split_once(';')?;
        out.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "apos" => '\'',
            number => {
                let number = number.strip_prefix('#')?;
                let code = match number.strip_prefix('x') {
                    Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                    None => number.parse().ok()?,
                };
                char::from_u32(code)?
            }
        });
        out.push_str(after);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_become_trees_and_back() {
        let answer = "<?xml version=\"1.0\"?>\n<A xmlns=\"x\">\n <B>\n  <item><C>1 &lt; 2&#x21;</C></item>\
                      <item><C/></item><!-- <no> -->\n </B>\n</A>\n";
        let root = Element::parse(answer).expect("it is well-formed");
        assert_eq!(root.name, "A");
        assert_eq!(root.text("B.item.C"), Some("1 < 2!"));
        assert_eq!(root.items("B").len(), 2);
        assert_eq!(root.text("B.D"), None);
        assert_eq!(Element::parse(&root.to_string()), Some(root));
    }

    #[test]
    fn broken_documents_are_none() {
        for text in ["", "x", "<a>", "<a></b>", "<a>&bad</a>", "<a>&#xD800;</a>", "<", "<?", "<a"] {
            assert_eq!(Element::parse(text), None, "{text}");
        }
        assert_eq!(Element::parse(&"<a>".repeat(100_000)), None);
    }
}
