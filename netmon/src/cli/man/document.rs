//! A document of `docs` as the text of a manual page: the part of Markdown that the documents use.

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};
use roff::{Inline, Roff, bold, italic, line_break, roman};

/// Appends the sections of a document. The title is left out, since a page has a name.
pub(super) fn put(page: &mut Roff, markdown: &str) {
    let mut writer = DocumentWriter {
        page,
        line: Vec::new(),
        fonts: Vec::new(),
        cells: Vec::new(),
        link: None,
        is_code: false,
        has_begun: false,
    };
    for event in Parser::new_ext(markdown, Options::ENABLE_TABLES) {
        writer.put(event);
    }
}

/// Writes the events of a parser as roff.
struct DocumentWriter<'a> {
    page: &'a mut Roff,
    /// The text since the last break.
    line: Vec<Inline>,
    /// The fonts that are open, the innermost last.
    fonts: Vec<fn(String) -> Inline>,
    /// The cells of the row.
    cells: Vec<Vec<Inline>>,
    /// The address of the link that is open, if readers of a page can use the address.
    link: Option<String>,
    /// The text is code, whose lines stay.
    is_code: bool,
    /// A heading or the mark of an item begins a paragraph already.
    has_begun: bool,
}

impl DocumentWriter<'_> {
    fn put(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.is_code => {
                for line in text.lines() {
                    self.page.text([roman(line)]);
                }
            }
            Event::Text(text) => {
                let font = self.fonts.last().copied().unwrap_or(roman);
                self.line.push(font(text.into_string()));
            }
            Event::Code(code) => self.line.push(bold(code.into_string())),
            Event::SoftBreak => self.line.push(roman(" ")),
            Event::HardBreak => self.line.push(line_break()),
            _ => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Heading { .. } | Tag::TableCell => self.line.clear(),
            Tag::Paragraph if !std::mem::take(&mut self.has_begun) => {
                self.page.control("PP", []);
            }
            Tag::Item => {
                self.page.control("IP", ["\\(bu", "2"]);
                self.has_begun = true;
            }
            Tag::CodeBlock(_) => {
                self.page.control("PP", []).control("RS", ["4"]).control("nf", []);
                self.is_code = true;
                self.has_begun = false;
            }
            Tag::Emphasis => self.fonts.push(italic),
            Tag::Strong => self.fonts.push(bold),
            Tag::Link { dest_url, .. } => {
                // Other addresses lead to files beside the document.
                self.link = Some(dest_url.into_string()).filter(|url| url.starts_with("http"));
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(level) => self.heading(level),
            TagEnd::Paragraph | TagEnd::Item => self.flush(),
            TagEnd::CodeBlock => {
                self.page.control("fi", []).control("RE", []);
                self.is_code = false;
            }
            TagEnd::Emphasis | TagEnd::Strong => _ = self.fonts.pop(),
            TagEnd::Link => {
                if let Some(url) = self.link.take() {
                    self.line.push(roman(format!(" ({url})")));
                }
            }
            TagEnd::TableCell => self.cells.push(std::mem::take(&mut self.line)),
            TagEnd::TableHead => self.row(|cell| cell.into_iter().map(slanted).collect()),
            TagEnd::TableRow => self.row(|cell| cell),
            _ => {}
        }
    }

    fn heading(&mut self, level: HeadingLevel) {
        let text: String = self.line.drain(..).map(text_of).collect();
        match level {
            HeadingLevel::H1 => self.page.control("SH", ["DESCRIPTION"]),
            HeadingLevel::H2 => self.page.control("SH", [&*text.to_uppercase()]),
            _ => self.page.control("SS", [&*text]),
        };
        self.has_begun = true;
    }

    /// Writes a row of a table as a paragraph, which fits any width: the first cell is the tag, the
    /// last one the text. The cells between stand in parentheses after the tag.
    fn row(&mut self, style: impl Fn(Vec<Inline>) -> Vec<Inline>) {
        let mut cells = std::mem::take(&mut self.cells).into_iter().map(style);
        let mut tag = cells.next().unwrap_or_default();
        let text = cells.next_back().unwrap_or_default();
        let between: Vec<_> = cells.collect();
        if !between.is_empty() {
            tag.push(roman(" ("));
            tag.extend(between.join(&roman("; ")));
            tag.push(roman(")"));
        }
        self.page.control("TP", []).text(tag);
        if !text.is_empty() {
            self.page.text(text);
        }
        self.has_begun = false;
    }

    fn flush(&mut self) {
        if !self.line.is_empty() {
            self.page.text(std::mem::take(&mut self.line));
        }
        self.has_begun = false;
    }
}

fn slanted(part: Inline) -> Inline {
    italic(text_of(part))
}

fn text_of(part: Inline) -> String {
    match part {
        Inline::Roman(text) | Inline::Italic(text) | Inline::Bold(text) => text,
        Inline::LineBreak => String::new(),
    }
}
