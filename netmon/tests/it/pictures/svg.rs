//! A terminal's screen as SVG, for pages that are light and pages that are dark.
//!
//! Every word has its place and its width, so that columns stay columns in any font. Blocks are
//! rectangles, since few fonts fill their cells with blocks.

use svg::{
    Document, Node,
    node::element::{Element, Path, Rectangle, Style, Text},
};
use vt100::{Cell, Color, Screen};

/// The width and the height of a cell, px.
const CELL: (u16, u16) = (8, 17);
/// The room around the screen, px.
const MARGIN: u16 = 12;
/// The baseline of a line, px below its top.
const BASELINE: u16 = 13;
/// Where a common font has characters of 0.6 em, a cell is as wide as a character of this size.
const FONT: &str = "13.3px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace";
/// The opacity of dim text.
const DIM: f64 = 0.8;

/// The colours of a page, as numbers of six hexadecimal digits.
struct Theme {
    back: u32,
    edge: u32,
    text: u32,
    /// Black, red, green, yellow, blue, magenta, cyan, white. Bright colours are the same.
    colours: [u32; 8],
}

const LIGHT: Theme = Theme {
    back: 0xffffff,
    edge: 0xd1d9e0,
    text: 0x1f2328,
    colours: [0x3b4048, 0xcb0022, 0x00661f, 0x764600, 0x0050c7, 0x9c00d1, 0x005e75, 0x3b4048],
};

const DARK: Theme = Theme {
    back: 0x0d1117,
    edge: 0x3d444d,
    text: 0xe6edf3,
    colours: [0xb1bac4, 0xff8e86, 0x56d364, 0xe3b341, 0x79c0ff, 0xd2a8ff, 0x56d4dd, 0xb1bac4],
};

impl Theme {
    /// Returns the rules of the classes.
    fn rules(&self) -> String {
        let Self { back, edge, text, colours } = self;
        let colours = (0..).zip(colours);
        let colours = colours.map(|(at, colour)| format!(".c{at}{{fill:#{colour:06x}}}"));
        format!("text,path,.text{{fill:#{text:06x}}}.back{{fill:#{back:06x}}}")
            + &format!(".page{{fill:#{back:06x};stroke:#{edge:06x}}}")
            + &colours.collect::<String>()
    }
}

/// Returns the picture of a screen.
pub(super) fn draw(screen: &Screen) -> String {
    let (lines, columns) = screen.size();
    let (width, height) = (columns * CELL.0 + 2 * MARGIN, lines * CELL.1 + 2 * MARGIN);
    let style = format!(
        "text{{font:{FONT}}}.bold{{font-weight:bold}}.dim{{opacity:{DIM}}}\n\
         .italic{{font-style:italic}}\n{}\n@media(prefers-color-scheme:dark){{{}}}",
        LIGHT.rules(),
        DARK.rules()
    );
    // A line of one pixel lies between two pixels.
    let page = Rectangle::new().set("class", "page").set("rx", 6).set("x", 0.5).set("y", 0.5);
    let mut picture = Document::new()
        .set("viewBox", (0, 0, width, height))
        .set("width", width)
        .set("height", height)
        .add(Style::new(style))
        .add(page.set("width", width - 1).set("height", height - 1));
    for line in 0..lines {
        for run in runs(screen, line) {
            run.draw(&mut picture);
        }
    }
    format!("{picture}\n")
}

/// The look of a cell.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Look {
    /// The classes of the text: its colour and its modes.
    text: [&'static str; 4],
    /// The class of what is behind the text.
    back: &'static str,
    underlined: bool,
}

impl Look {
    fn of(cell: &Cell) -> Self {
        const COLOURS: [&str; 8] = ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"];
        let class = |colour: Color, default| match colour {
            Color::Default => default,
            Color::Idx(number @ ..16) => COLOURS[usize::from(number % 8)],
            other => panic!("{other:?} is none of the sixteen colours of terminals"),
        };
        let colours = (class(cell.fgcolor(), "text"), class(cell.bgcolor(), "back"));
        let (front, back) = if cell.inverse() { (colours.1, colours.0) } else { colours };
        let mode = |is_on: bool, class| if is_on { class } else { "" };
        let modes =
            [mode(cell.bold(), "bold"), mode(cell.dim(), "dim"), mode(cell.italic(), "italic")];
        Self { text: [front, modes[0], modes[1], modes[2]], back, underlined: cell.underline() }
    }

    /// Gives text, blocks or a line their classes. Most text needs none.
    fn class(self, element: &mut impl Node) {
        let needed = self.text.into_iter().filter(|class| !["", "text"].contains(class));
        let classes: Vec<&str> = needed.collect();
        if !classes.is_empty() {
            element.assign("class", classes.join(" "));
        }
    }
}

/// Cells of one look, side by side.
struct Run {
    line: u16,
    from: u16,
    text: Vec<char>,
    look: Look,
}

fn runs(screen: &Screen, line: u16) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for from in 0..screen.size().1 {
        let cell = screen.cell(line, from).expect("a cell");
        assert!(!cell.is_wide(), "characters of two columns are not drawn yet");
        let c = cell.contents().chars().next().unwrap_or(' ');
        let look = Look::of(cell);
        match runs.last_mut() {
            Some(run) if run.look == look => run.text.push(c),
            _ => runs.push(Run { line, from, text: vec![c], look }),
        }
    }
    runs
}

impl Run {
    fn draw(&self, picture: &mut Document) {
        let Self { line, from, text, look } = self;
        let left = |at: usize| MARGIN + (from + cells(at)) * CELL.0;
        let top = MARGIN + line * CELL.1;
        if look.back != "back" {
            let back = Rectangle::new().set("class", look.back).set("x", left(0)).set("y", top);
            let width = cells(text.len()) * CELL.0;
            picture.append(back.set("width", width).set("height", CELL.1));
        }
        let blocks = text.iter().enumerate().filter_map(|(at, c)| Some((at, eighths(*c)?)));
        let blocks = blocks.map(|(at, eighths)| {
            // A pixel stays free, so that a block does not join the line above.
            let height = f32::from((CELL.1 - 1) * eighths) / 8.0;
            format!("M{} {}h{}v-{height}h-{2}z", left(at), top + CELL.1, CELL.0)
        });
        let mut shapes: String = blocks.collect();
        if look.underlined {
            let width = cells(text.len()) * CELL.0;
            shapes += &format!("M{} {}h{width}v1h-{width}z", left(0), top + BASELINE + 2);
        }
        if !shapes.is_empty() {
            let mut shapes = Path::new().set("d", shapes);
            look.class(&mut shapes);
            picture.append(shapes);
        }
        for (at, word) in words(text) {
            let width = cells(word.chars().count()) * CELL.0;
            let mut word = Text::new(word)
                .set("x", left(at))
                .set("y", top + BASELINE)
                .set("textLength", width)
                .set("lengthAdjust", "spacingAndGlyphs");
            look.class(&mut word);
            // A `Text` would be written with line breaks around its content.
            picture.append(Element::from(word));
        }
    }
}

fn cells(count: usize) -> u16 {
    u16::try_from(count).expect("a line")
}

/// Returns the eighths of its cell that a block fills, from below.
fn eighths(c: char) -> Option<u16> {
    ('▁'..='█').zip(1..).find_map(|(block, eighths)| (block == c).then_some(eighths))
}

/// Returns the words of a run, with their places. Two spaces end a word, and so does a block.
fn words(text: &[char]) -> Vec<(usize, String)> {
    let is_gap = |at: usize| text.get(at).is_none_or(|c| *c == ' ' || eighths(*c).is_some());
    let mut words: Vec<(usize, String)> = Vec::new();
    let mut is_open = false;
    for (at, c) in text.iter().enumerate() {
        let is_between = *c == ' ' && is_open && !is_gap(at + 1);
        let was_open = std::mem::replace(&mut is_open, !is_gap(at) || is_between);
        match words.last_mut() {
            _ if !is_open => {}
            Some((_, word)) if was_open => word.push(*c),
            _ => words.push((at, c.to_string())),
        }
    }
    words
}

/// The contrast of two colours, from 1 to 21, as WCAG 2 defines it.
fn contrast(one: [f64; 3], other: [f64; 3]) -> f64 {
    let luminance = |colour: [f64; 3]| {
        let [red, green, blue] = colour.map(|part| match part / 255.0 {
            dark if dark <= 0.04045 => dark / 12.92,
            part => ((part + 0.055) / 1.055).powf(2.4),
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05
    };
    let (one, other) = (luminance(one), luminance(other));
    one.max(other) / one.min(other)
}

#[test]
fn words_end_with_two_spaces_or_a_block() {
    let text: Vec<char> = " a b  c▁ d█ ".chars().collect();
    let words = words(&text);
    assert_eq!(words, [(1, "a b"), (6, "c"), (9, "d")].map(|(at, word)| (at, word.to_owned())));
}

#[test]
fn every_colour_can_be_read() {
    // The level AA.
    const LEAST: f64 = 4.5;
    for Theme { back, text, colours, .. } in [LIGHT, DARK] {
        let parts = |colour: u32| colour.to_be_bytes().map(f64::from);
        let [_, back @ ..] = parts(back);
        for colour in colours.into_iter().chain([text]) {
            let [_, front @ ..] = parts(colour);
            let mixed = [0, 1, 2].map(|at| front[at] * DIM + back[at] * (1.0 - DIM));
            let contrasts = [contrast(front, back), contrast(mixed, back)];
            assert!(contrasts.iter().all(|it| *it >= LEAST), "{colour:06x}: {contrasts:?}");
        }
    }
}
