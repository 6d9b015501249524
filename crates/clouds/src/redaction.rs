//! `Redactor`: takes out of what others say what we have sent them and nobody else may see.
//!
//! A gateway may quote a request in its refusal, whoever runs a task may quote it in an error text,
//! and nobody knows in which form: in JSON, percent-encoded, in base64, over several lines, cut. So
//! no words are looked for that may come before a secret. What is looked for are the [`Secrets`] of
//! the request itself, in the text as it is and in everything that it can be decoded to.

use std::fmt;
use std::sync::OnceLock;

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Extensions, Request};
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

/// What stands in the place of a secret.
const REDACTED: &str = "***";
/// What is shorter may be any word: nothing is looked for that is.
const LEAST: usize = 8;
/// Of a longer secret so many characters in a row are taken out, wherever they are in it.
const RUN: usize = 16;
/// The same of what holds words that are no secrets: headers.
const LONG_RUN: usize = 32;
/// The same of whole requests, in which hosts and paths are.
const LONGEST_RUN: usize = 64;
/// How often a text is decoded: base64 of JSON of percent-encoding, and one more.
const MAX_DEPTH: usize = 4;
/// So long a word may hold a secret that is encoded twice.
const LONG_WORD: usize = 16;
/// As much of a text is looked at in one piece; pieces overlap by a quarter.
const PIECE: usize = 64 * 1024;
/// The most bytes that a piece is decoded to, for each of its own.
const MAX_GROWTH: usize = 16;

/// Where something begins in a text, and where what follows it does; in bytes.
type Place = (usize, usize);

/// What a request holds that nobody else may see. A request carries it along, as an extension.
#[derive(Clone, Default)]
pub struct Secrets(Vec<Secret>);

#[derive(Clone)]
struct Secret {
    value: SecretString,
    /// How many characters of it in a row are taken out.
    run: usize,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

impl Secrets {
    /// Those that a request carries, to add more.
    pub fn carried_by(extensions: &mut Extensions) -> &mut Self {
        extensions.get_or_insert_default()
    }

    /// Those of a request: what it carries, and its headers that are marked as sensitive.
    pub fn of<B>(request: &Request<B>) -> Self {
        let mut secrets = request.extensions().get::<Self>().cloned().unwrap_or_default();
        for (name, value) in request.headers() {
            if !value.is_sensitive() || name == CONTENT_TYPE || name == ACCEPT {
                continue;
            }
            let Ok(value) = value.to_str() else { continue };
            let run = if value.contains(' ') { LONG_RUN } else { RUN };
            secrets.push(value, run);
            // `Bearer token`, without the first word.
            let is_pair = |word: &&str| word.trim_end_matches('=').contains('=');
            for word in value.split(' ').skip(1).filter(|word| !is_pair(word)) {
                secrets.value(word);
            }
        }
        secrets
    }

    /// Adds a key, a token, a password or a signature.
    pub fn value(&mut self, value: &str) {
        self.push(value, RUN);
    }

    /// Adds what holds secrets among words that are none: a whole body, or what is signed.
    pub fn text(&mut self, text: &str) {
        self.push(text, LONGEST_RUN);
    }

    /// Adds those of another request.
    pub fn add(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    fn push(&mut self, value: &str, run: usize) {
        if value.len() >= LEAST {
            self.0.push(Secret { value: value.into(), run });
        }
    }
}

/// Takes secrets out of texts.
#[derive(Debug, Default)]
pub struct Redactor {
    secrets: Secrets,
    /// Made for the first text.
    needles: OnceLock<Needles>,
}

impl Redactor {
    /// Takes these out.
    pub fn new(secrets: Secrets) -> Self {
        Self { secrets, needles: OnceLock::new() }
    }

    /// The text with `***` in the place of every secret; `None` if it holds none.
    pub fn redacted(&self, text: &str) -> Option<String> {
        if text.len() < LEAST || self.secrets.0.is_empty() {
            return None;
        }
        let needles = self.needles.get_or_init(|| Needles::new(&self.secrets));
        if !needles.may_be_in(text) {
            return None;
        }
        let spans = needles.find(text);
        if spans.is_empty() {
            return None;
        }
        let (mut kept, mut at) = (String::with_capacity(text.len()), 0);
        for (start, end) in spans {
            if start >= at {
                kept.push_str(text.get(at..start).unwrap_or_default());
                kept.push_str(REDACTED);
            }
            at = at.max(end);
        }
        kept.push_str(text.get(at..).unwrap_or_default());
        Some(kept)
    }

    /// Takes them out of `text`.
    pub fn redact<T: AsRef<str> + From<String>>(&self, text: &mut T) {
        if let Some(redacted) = self.redacted((*text).as_ref()) {
            *text = redacted.into();
        }
    }
}

/// Secrets as they are looked for.
#[derive(Default)]
struct Needles {
    all: Vec<Needle>,
    /// Every eighth place of every needle: the eight bytes there, whose they are, and where.
    anchors: Vec<([u8; LEAST], usize, usize)>,
    /// The same of what needles are encoded to: a text without any of them is clean.
    hints: Vec<[u8; LEAST]>,
    /// Which bytes begin one.
    beginnings: [u64; 4],
    /// Whether a needle has too little of which hints are made.
    is_blind: bool,
}

struct Needle {
    /// Without blanks, and folded.
    bytes: SecretSlice<u8>,
    /// How many of them in a row are a find.
    run: usize,
    /// Whether its beginning at the end of a text is one, for texts are cut.
    may_be_cut: bool,
    /// Whether it could be an ordinary word or a date.
    is_word: bool,
}

impl fmt::Debug for Needles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Needles").finish_non_exhaustive()
    }
}

impl Needles {
    fn new(secrets: &Secrets) -> Self {
        let mut needles = Self::default();
        for Secret { value, run } in &secrets.0 {
            let value = value.expose_secret();
            needles.add(without_gaps(value.as_bytes()), *run);
            // A password may itself look like something that can be decoded.
            if has_escapes(value.as_bytes()) {
                let first = Layer::of(value).unescaped();
                let decoded = std::iter::successors(first, Layer::unescaped).take(MAX_DEPTH).last();
                if let Some(decoded) = decoded {
                    needles.add(without_gaps(&decoded.bytes), *run);
                }
            }
            // Forms spell a blank so.
            if value.contains(' ') {
                needles.add(without_gaps(value.replace(' ', "+").as_bytes()), *run);
            }
        }
        needles.anchors.sort_unstable();
        needles.hints.sort_unstable();
        needles.hints.dedup();
        for [first, ..] in &needles.hints {
            let (word, bit) = (usize::from(first / 64), 1 << (first % 64));
            needles.beginnings.get_mut(word).into_iter().for_each(|word| *word |= bit);
        }
        needles
    }

    fn add(&mut self, mut bytes: Vec<u8>, run: usize) {
        if bytes.len() < LEAST {
            return;
        }
        // Where there is more of it in base64, that is a long word.
        let start = bytes.get(..bytes.len().min(LONG_WORD)).unwrap_or_default();
        let codes = (0..3).map(|before| base64_behind(before, start));
        for code in codes.chain([bytes.clone()]) {
            let code: Vec<u8> = code.into_iter().filter_map(hinting).collect();
            self.is_blind |= code.len() < LEAST;
            self.hints.extend(code.as_chunks::<LEAST>().0);
        }
        let run = run.min(bytes.len());
        let is_word = run == bytes.len() && is_word(&bytes);
        for byte in &mut bytes {
            *byte = fold(*byte);
        }
        let number = self.all.len();
        for (place, anchor) in bytes.as_chunks::<LEAST>().0.iter().enumerate() {
            self.anchors.push((*anchor, number, place * LEAST));
        }
        let may_be_cut = run < LONGEST_RUN;
        self.all.push(Needle { bytes: bytes.into(), run, may_be_cut, is_word });
    }

    /// Whether a closer look makes sense. Quick, for almost all texts are clean.
    fn may_be_in(&self, text: &str) -> bool {
        let (mut last, mut count, mut word) = ([0; LEAST], 0_usize, 0);
        for byte in text.bytes() {
            if self.is_blind || matches!(byte, b'%' | b'\\' | b'&' | b'<' | b'\n' | b'\r') {
                return true;
            }
            word = if is_of_word(byte) { word + 1 } else { 0 };
            let Some(byte) = hinting(byte) else { continue };
            last.rotate_left(1);
            last[LEAST - 1] = byte;
            count += 1;
            let begins = |byte: u8| {
                let part = self.beginnings.get(usize::from(byte / 64)).copied().unwrap_or_default();
                part >> (byte % 64) & 1 == 1
            };
            let hint = count >= LEAST && begins(last[0]) && self.hints.binary_search(&last).is_ok();
            if hint || word >= LONG_WORD {
                return true;
            }
        }
        false
    }

    /// Where secrets are in `text`, in order; places may overlap. All are between characters.
    fn find(&self, text: &str) -> Vec<Place> {
        let mut spans = Vec::new();
        let mut start = 0;
        while start < text.len() {
            let end = text.ceil_char_boundary((start + PIECE).min(text.len()));
            let piece = text.get(start..end).unwrap_or_default();
            self.find_in_piece(piece, start, &mut spans);
            start = if end == text.len() { end } else { text.floor_char_boundary(end - PIECE / 4) };
        }
        for span in &mut spans {
            *span = widened(text, *span);
        }
        spans.sort_unstable();
        spans
    }

    fn find_in_piece(&self, piece: &str, offset: usize, spans: &mut Vec<Place>) {
        let mut layers = vec![(Layer::of(piece), 0)];
        let mut room = (piece.len() * MAX_GROWTH).max(PIECE);
        let first = spans.len();
        while let Some((layer, depth)) = layers.pop() {
            let compact = layer.compact();
            self.search(&layer, &compact, spans);
            if depth < MAX_DEPTH {
                let split = compact.unescaped(&layer);
                let found = layer.unescaped().into_iter().chain(split).chain(compact.decoded());
                for found in found {
                    if let Some(rest) = room.checked_sub(found.bytes.len()) {
                        room = rest;
                        layers.push((found, depth + 1));
                    }
                }
            }
        }
        for (start, end) in spans.iter_mut().skip(first) {
            (*start, *end) = (*start + offset, *end + offset);
        }
    }

    fn search(&self, layer: &Layer, compact: &Compact, spans: &mut Vec<Place>) {
        let folded: Vec<u8> = compact.bytes.iter().map(|byte| fold(*byte)).collect();
        let end = end(&folded);
        let mut done = 0;
        for (place, window) in folded.array_windows::<LEAST>().enumerate() {
            if place < done {
                continue;
            }
            let first = self.anchors.partition_point(|(anchor, ..)| anchor < window);
            let same = self.anchors.get(first..).unwrap_or_default();
            for (_, needle, at) in same.iter().take_while(|(anchor, ..)| anchor == window) {
                let Some(needle) = self.all.get(*needle) else { continue };
                let bytes = needle.bytes.expose_secret();
                let before = same_end(&folded, place, bytes, *at);
                let after = same_begin(&folded, place, bytes, *at);
                let (from, to) = (place - before, place + after);
                let is_cut = needle.may_be_cut && before == *at && to >= end;
                if to - from < needle.run && !is_cut {
                    continue;
                }
                let (Some(start), Some(last)) = (compact.at.get(from), compact.at.get(to - 1))
                else {
                    continue;
                };
                if needle.is_word && !layer.is_value(*start, *last) {
                    continue;
                }
                if let (Some(first), Some(last)) = (layer.spans.get(*start), layer.spans.get(*last))
                {
                    spans.push((first.0, last.1));
                    done = done.max(to);
                }
            }
        }
    }
}

/// How many bytes before both places are the same.
fn same_end(text: &[u8], place: usize, needle: &[u8], at: usize) -> usize {
    let text = text.get(..place).unwrap_or_default().iter().rev();
    let needle = needle.get(..at).unwrap_or_default().iter().rev();
    text.zip(needle).take_while(|(one, other)| one == other).count()
}

/// How many bytes from both places on are the same.
fn same_begin(text: &[u8], place: usize, needle: &[u8], at: usize) -> usize {
    let text = text.get(place..).unwrap_or_default();
    let needle = needle.get(at..).unwrap_or_default();
    text.iter().zip(needle).take_while(|(one, other)| one == other).count()
}

/// Case does not matter, for a signature may come back in capitals; and base64 has two alphabets.
fn fold(byte: u8) -> u8 {
    match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other.to_ascii_lowercase(),
    }
}

/// The byte as hints have it: folded; `None` for those that hints do without.
fn hinting(byte: u8) -> Option<u8> {
    byte.is_ascii_graphic().then(|| fold(byte))
}

/// Whether it is a digit in base64 of either alphabet.
fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte)
}

/// What base64 of something makes of `bytes` that stand behind so many others in it, without the
/// digits that depend on those or on what follows.
fn base64_behind(before: usize, bytes: &[u8]) -> Vec<u8> {
    let whole = [&vec![0; before], bytes].concat();
    let digits = STANDARD_NO_PAD.encode(&whole);
    let (from, to) = ((before * 8).div_ceil(6), whole.len() * 8 / 6);
    digits.as_bytes().get(from..to).unwrap_or_default().to_vec()
}

/// Whether a secret may be an ordinary word or a date, and so be in a text by chance.
fn is_word(bytes: &[u8]) -> bool {
    let (_, tail) = bytes.split_at_checked(1).unwrap_or_default();
    let of_letters = bytes.iter().all(u8::is_ascii_alphabetic)
        && (tail.iter().all(u8::is_ascii_lowercase) || bytes.iter().all(u8::is_ascii_uppercase));
    bytes.len() < RUN && (of_letters || bytes.iter().all(u8::is_ascii_digit))
}

/// Where a text ends, but for what is added to one that has been cut, and for what it stands in.
fn end(text: &[u8]) -> usize {
    let mut rest = text;
    while let Some((last, before)) = rest.split_last() {
        let marks = b".\"'`)]}>*,;:!=\\\xe2\x80\xa6";
        match rest.strip_suffix(b"(truncated)") {
            Some(before) => rest = before,
            None if marks.contains(last) => rest = before,
            None => break,
        }
    }
    rest.len()
}

/// The place with the rest of the word that it is in, and of what it is encoded to.
fn widened(text: &str, (start, end): Place) -> Place {
    let (start, end) = (text.floor_char_boundary(start), text.ceil_char_boundary(end));
    let before = text.as_bytes().get(..start).unwrap_or_default();
    let after = text.as_bytes().get(end..).unwrap_or_default();
    let start = start - before.iter().rev().take_while(|byte| is_of_word(**byte)).count();
    let rest = after.iter().take_while(|byte| is_of_word(**byte) || **byte == b'=').count();
    let end = end + rest;
    (start, end)
}

/// A text, or what it can be decoded to.
#[derive(Clone, Debug, Default)]
struct Layer {
    bytes: Vec<u8>,
    /// Where each of them comes from in the text.
    spans: Vec<Place>,
    /// Whether it is what a word of the text is in another code.
    is_word: bool,
}

/// The bytes of a layer without what a secret may be split by.
#[derive(Debug, Default)]
struct Compact {
    bytes: Vec<u8>,
    /// Where each of them is in the layer.
    at: Vec<usize>,
    spans: Vec<Place>,
}

impl Layer {
    fn of(text: &str) -> Self {
        let spans = (0..text.len()).map(|at| (at, at + 1)).collect();
        Self { bytes: text.as_bytes().to_vec(), spans, is_word: false }
    }

    fn rest(&self, at: usize) -> &[u8] {
        self.bytes.get(at..).unwrap_or_default()
    }

    fn span(&self, from: usize, to: usize) -> Place {
        let first = self.spans.get(from).copied().unwrap_or_default();
        let last = self.spans.get(to.saturating_sub(1)).copied().unwrap_or_default();
        (first.0, last.1)
    }

    /// What it is without one level of escapes; `None` if it has none.
    fn unescaped(&self) -> Option<Self> {
        if !has_escapes(&self.bytes) {
            return None;
        }
        let mut plain = Self::default();
        let mut at = 0;
        while let Some(&byte) = self.bytes.get(at) {
            let (length, decoded) = match escape(self.rest(at)) {
                Some((length, decoded)) => (length, decoded),
                None => (1, Escaped::Byte(byte)),
            };
            let span = self.span(at, at + length);
            let mut buffer = [0; 4];
            for byte in decoded.bytes(&mut buffer) {
                plain.bytes.push(*byte);
                plain.spans.push(span);
            }
            at += length;
        }
        (plain.bytes.len() < self.bytes.len()).then_some(plain)
    }

    fn compact(&self) -> Compact {
        let mut compact = Compact::default();
        each_without_gaps(&self.bytes, |at, byte| {
            compact.bytes.push(byte);
            compact.at.push(at);
            compact.spans.push(self.span(at, at + 1));
        });
        compact
    }

    /// Whether what stands between these places, both included, is a whole value: behind a mark
    /// that names it and before one that ends it, or in quotes and no name itself. In another code
    /// nothing is there by chance.
    fn is_value(&self, start: usize, last: usize) -> bool {
        if self.is_word {
            return true;
        }
        let before = self.bytes.get(..start).unwrap_or_default();
        let after = self.rest(last + 1);
        let surrounds = |byte: &&u8| !byte.is_ascii_whitespace() && !b"'\"\\".contains(byte);
        let quotes = |byte: Option<&u8>| byte.is_some_and(|byte| b"'\"\\".contains(byte));
        // Behind a colon a sentence may go on.
        let ends: &[u8] = match before.iter().rfind(surrounds) {
            Some(b'=' | b'>') => b"'\",;&}<\\\r\n ",
            Some(b':') => b"'\",;&}<\\\r\n",
            _ => b"",
        };
        let is_named = !ends.is_empty() && after.first().is_none_or(|byte| ends.contains(byte));
        let is_name = after.iter().find(surrounds) == Some(&b':');
        let is_quoted = quotes(before.last()) && quotes(after.first());
        !is_name && (is_named || is_quoted)
    }
}

/// The bytes without what a secret may be split by.
fn without_gaps(bytes: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(bytes.len());
    each_without_gaps(bytes, |_, byte| kept.push(byte));
    kept
}

/// Calls `take` with the place and the value of each byte but for what a secret may be split by.
fn each_without_gaps(bytes: &[u8], mut take: impl FnMut(usize, u8)) {
    let (mut at, mut begins_line) = (0, false);
    while let Some(&byte) = bytes.get(at) {
        let skipped = skipped(bytes.get(at..).unwrap_or_default(), begins_line);
        if skipped == 0 {
            take(at, byte);
            begins_line = false;
        } else {
            begins_line |= matches!(byte, b'\n' | b'\r');
        }
        at += skipped.max(1);
    }
}

/// How many bytes at the beginning of `rest` stand between the parts of a secret that is split.
fn skipped(rest: &[u8], begins_line: bool) -> usize {
    match rest {
        [byte, ..] if byte.is_ascii_whitespace() || byte.is_ascii_control() => 1,
        // No-break blanks, blanks without a width, separators of lines.
        [0xc2, 0xa0 | 0xad, ..] => 2,
        [0xe2, 0x80, 0x8b..=0x8f | 0xa8 | 0xa9, ..]
        | [0xe2, 0x81, 0xa0, ..]
        | [0xef, 0xbb, 0xbf, ..] => 3,
        // Some write lines in one, with this between them; and a line may go on in the next one.
        [b'|', ..] | [b'\\' | b'=' | b'"' | b'\'', b'\n' | b'\r', ..] => 1,
        [b'"' | b'\'' | b'>', ..] if begins_line => 1,
        [b'<', next, ..] if next.is_ascii_alphabetic() || *next == b'/' => {
            let end = rest.iter().take(40).position(|byte| *byte == b'>');
            end.map_or(0, |end| end + 1)
        }
        _ => 0,
    }
}

/// Whether any byte could begin an escape.
fn has_escapes(bytes: &[u8]) -> bool {
    bytes.iter().any(|byte| matches!(byte, b'%' | b'\\' | b'&'))
}

/// What an escape stands for.
enum Escaped {
    Byte(u8),
    Char(char),
}

impl Escaped {
    fn bytes<'a>(&'a self, buffer: &'a mut [u8; 4]) -> &'a [u8] {
        match self {
            Self::Byte(byte) => std::slice::from_ref(byte),
            Self::Char(c) => c.encode_utf8(buffer).as_bytes(),
        }
    }
}

/// The escape at the beginning of `rest`: its length, and what it stands for.
fn escape(rest: &[u8]) -> Option<(usize, Escaped)> {
    match rest {
        [b'%', b'u' | b'U', digits @ ..] => Some((6, unit(digits, 4)?)),
        [b'%', digits @ ..] => {
            Some((3, Escaped::Byte(number(digits.get(..2)?, 16)?.try_into().ok()?)))
        }
        [b'\\', b'u', b'{', digits @ ..] => {
            let length = digits.iter().take(8).position(|byte| *byte == b'}')?;
            Some((length + 4, unit(digits, length)?))
        }
        [b'\\', b'u', digits @ ..] => Some((6, unit(digits, 4)?)),
        [b'\\', b'U', digits @ ..] => Some((10, unit(digits, 8)?)),
        [b'\\', b'x' | b'X', digits @ ..] => {
            Some((4, Escaped::Byte(number(digits.get(..2)?, 16)?.try_into().ok()?)))
        }
        [b'\\', digits @ ..] if digits.first().is_some_and(u8::is_ascii_digit) => {
            match number(digits.get(..3).unwrap_or_default(), 8) {
                Some(byte) => Some((4, Escaped::Byte(byte.try_into().ok()?))),
                None => None,
            }
        }
        [b'\\', b'n' | b'r' | b't' | b'b' | b'f' | b'v', ..] => Some((2, Escaped::Byte(b'\n'))),
        [b'\\', byte, ..] if byte.is_ascii_punctuation() => Some((2, Escaped::Byte(*byte))),
        [b'&', b'#', b'x' | b'X', digits @ ..] => entity(digits, 16).map(|(n, c)| (n + 3, c)),
        [b'&', b'#', digits @ ..] => entity(digits, 10).map(|(n, c)| (n + 2, c)),
        [b'&', name @ ..] => {
            let length = name.iter().take(8).position(|byte| *byte == b';')?;
            let name = name.get(..length)?;
            let (_, c) = ENTITIES.iter().find(|(known, _)| known.as_bytes() == name)?;
            Some((length + 2, Escaped::Byte(*c)))
        }
        _ => None,
    }
}

/// The entities of HTML for what keys, tokens and passwords may hold.
const ENTITIES: [(&str, u8); 36] = [
    ("amp", b'&'),
    ("AMP", b'&'),
    ("lt", b'<'),
    ("LT", b'<'),
    ("gt", b'>'),
    ("GT", b'>'),
    ("quot", b'"'),
    ("QUOT", b'"'),
    ("apos", b'\''),
    ("sol", b'/'),
    ("bsol", b'\\'),
    ("plus", b'+'),
    ("equals", b'='),
    ("colon", b':'),
    ("semi", b';'),
    ("comma", b','),
    ("period", b'.'),
    ("lowbar", b'_'),
    ("hyphen", b'-'),
    ("dash", b'-'),
    ("num", b'#'),
    ("percnt", b'%'),
    ("dollar", b'$'),
    ("commat", b'@'),
    ("excl", b'!'),
    ("quest", b'?'),
    ("ast", b'*'),
    ("Hat", b'^'),
    ("lpar", b'('),
    ("rpar", b')'),
    ("lsqb", b'['),
    ("rsqb", b']'),
    ("lcub", b'{'),
    ("rcub", b'}'),
    ("vert", b'|'),
    ("nbsp", b' '),
];

/// The character whose number stands in the first `length` hexadecimal digits.
fn unit(digits: &[u8], length: usize) -> Option<Escaped> {
    char::from_u32(number(digits.get(..length)?, 16)?).map(Escaped::Char)
}

/// The character whose number stands in the first digits, and how many there are, with the semicolon
/// behind them. The semicolon may be missing, but not where the entity may go on behind a gap.
fn entity(digits: &[u8], radix: u32) -> Option<(usize, Escaped)> {
    let is_digit = |byte: &&u8| char::from(**byte).is_digit(radix);
    let length = digits.iter().take(8).take_while(is_digit).count();
    let c = char::from_u32(number(digits.get(..length)?, radix)?)?;
    match digits.get(length) {
        Some(b';') => Some((length + 1, Escaped::Char(c))),
        Some(b'\\' | b'%') => None,
        Some(byte) if byte.is_ascii_whitespace() || byte.is_ascii_control() => None,
        Some(_) | None => Some((length, Escaped::Char(c))),
    }
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let digits = std::str::from_utf8(digits).ok()?;
    // A sign is no digit.
    digits.chars().all(|c| c.is_digit(radix)).then(|| u32::from_str_radix(digits, radix).ok())?
}

/// Without padding, and whatever the last bits are: what is decoded is cut anywhere.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

impl Compact {
    /// What it is without one level of escapes, where one of them may have been split in `layer`.
    fn unescaped(&self, layer: &Layer) -> Option<Layer> {
        if self.bytes.len() == layer.bytes.len() {
            return None;
        }
        let (bytes, spans) = (self.bytes.clone(), self.spans.clone());
        Layer { bytes, spans, is_word: layer.is_word }.unescaped()
    }

    /// What its longer words are if they are base64 or hexadecimal, as far as that looks like text.
    fn decoded(&self) -> Vec<Layer> {
        let mut layers = Vec::new();
        // As many digits as eight bytes take.
        for (word, spans) in self.words(is_of_word, LEAST * 4 / 3) {
            layers.extend((0..4).filter_map(|skip| in_base64(word, spans, skip)));
        }
        for (word, spans) in self.words(|byte| byte.is_ascii_hexdigit(), LEAST * 2) {
            layers.extend((0..2).filter_map(|skip| in_hexadecimal(word, spans, skip)));
        }
        layers
    }

    /// The words of so many bytes at least that are `of` one kind, and where those are in the text.
    fn words(&self, of: fn(u8) -> bool, least: usize) -> Vec<(&[u8], &[Place])> {
        let mut words = Vec::new();
        let mut at = 0;
        while at < self.bytes.len() {
            let rest = self.bytes.get(at..).unwrap_or_default();
            let length = rest.iter().take_while(|byte| of(**byte)).count();
            let range = at..at + length;
            if length >= least
                && let (Some(word), Some(spans)) =
                    (self.bytes.get(range.clone()), self.spans.get(range))
            {
                words.push((word, spans));
            }
            at += length.max(1);
        }
        words
    }
}

/// What `word` is in base64 of whatever alphabet, from there on.
fn in_base64(word: &[u8], spans: &[Place], skip: usize) -> Option<Layer> {
    let url_safe = |byte: &u8| match byte {
        b'+' => b'-',
        b'/' => b'_',
        other => *other,
    };
    let mut word: Vec<u8> = word.iter().skip(skip).map(url_safe).collect();
    if word.len() % 4 == 1 {
        word.pop();
    }
    let bytes = BASE64.decode(&word).ok()?;
    looks_like_text(&bytes).then(|| {
        let of = |at: usize| {
            let first = at / 3 * 4;
            let last = (first + 3).min(word.len() - 1);
            let span = |at: usize| spans.get(at + skip).copied().unwrap_or_default();
            (span(first).0, span(last).1)
        };
        let spans = (0..bytes.len()).map(of).collect();
        Layer { bytes, spans, is_word: true }
    })
}

/// What `word` is in hexadecimal digits, from there on.
fn in_hexadecimal(word: &[u8], spans: &[Place], skip: usize) -> Option<Layer> {
    let digits = word.get(skip..)?.as_chunks::<2>().0;
    let mut layer = Layer { is_word: true, ..Layer::default() };
    for (at, pair) in digits.iter().enumerate() {
        let byte = number(pair, 16)?.try_into().ok()?;
        let span = |at: usize| spans.get(at + skip).copied().unwrap_or_default();
        layer.bytes.push(byte);
        layer.spans.push((span(at * 2).0, span(at * 2 + 1).1));
    }
    looks_like_text(&layer.bytes).then_some(layer)
}

/// Whether there is room for a secret in it: eight printable characters in a row.
fn looks_like_text(bytes: &[u8]) -> bool {
    let printable = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    bytes.windows(LEAST).any(|window| window.iter().all(printable))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    /// With everything that base64 may hold, and longer than most.
    const KEY: &str = "Zk3Vq/8+wLr2tXn5bHs7Yd0mPcJ1aGfE4uRiT9oB==";
    const SIGNATURE: &str = "9b1c60ee7f3a45d2b8e0c1a97d52f46083ae1bd4c7f9025e6a8d3b10c4f7e295";

    fn redactor(values: &[&str]) -> Redactor {
        let mut secrets = Secrets::default();
        for value in values {
            secrets.value(value);
        }
        Redactor::new(secrets)
    }

    fn redacted(values: &[&str], text: &str) -> String {
        redactor(values).redacted(text).unwrap_or_else(|| text.to_owned())
    }

    fn each(text: &str, spell: impl Fn(char) -> String) -> String {
        text.chars().map(spell).collect()
    }

    fn percent(text: &str) -> String {
        each(
            text,
            |c| if c.is_ascii_alphanumeric() { c.into() } else { format!("%{:02X}", c as u32) },
        )
    }

    fn json(text: &str) -> String {
        let quoted = serde_json::to_string(text).unwrap().replace('/', "\\/");
        quoted[1..quoted.len() - 1].to_owned()
    }

    fn split(text: &str, every: usize, by: &str) -> String {
        let parts: Vec<&str> =
            text.as_bytes().chunks(every).map(|part| std::str::from_utf8(part).unwrap()).collect();
        parts.join(by)
    }

    fn hexadecimal(text: &str) -> String {
        text.bytes().fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"))
    }

    /// Every way in which a secret may come back, by name.
    fn spellings(secret: &str) -> Vec<(String, String)> {
        let mut all: Vec<(&str, String)> = vec![
            ("plain", secret.to_owned()),
            ("upper case", secret.to_uppercase()),
            ("percent", percent(secret)),
            ("percent, lower case", percent(secret).replace("%2F", "%2f").replace("%2B", "%2b")),
            ("percent, all", each(secret, |c| format!("%{:02x}", c as u32))),
            ("percent twice", percent(&percent(secret))),
            ("json", json(secret)),
            ("json, units", each(secret, |c| format!("\\u{:04X}", c as u32))),
            ("json, slashes as units", secret.replace('/', "\\u002F").replace('+', "\\u002b")),
            ("json in json", json(&json(secret))),
            ("rust", each(secret, |c| format!("\\u{{{:x}}}", c as u32))),
            ("bytes", each(secret, |c| format!("\\x{:02x}", c as u32))),
            ("octal", each(secret, |c| format!("\\{:03o}", c as u32))),
            ("script", each(secret, |c| format!("%u{:04x}", c as u32))),
            ("html", secret.replace('/', "&sol;").replace('+', "&plus;").replace('=', "&#61;")),
            ("html, numbers", each(secret, |c| format!("&#{};", c as u32))),
            ("html, hexadecimal", each(secret, |c| format!("&#x{:X};", c as u32))),
            ("hexadecimal", hexadecimal(secret)),
            ("hexadecimal, upper case", hexadecimal(secret).to_uppercase()),
            ("base64", STANDARD.encode(secret)),
            ("base64, for addresses", URL_SAFE_NO_PAD.encode(secret)),
            ("base64 behind one", STANDARD.encode(format!(":{secret}"))),
            ("base64 behind two", STANDARD.encode(format!("a:{secret}"))),
            ("base64 behind many", STANDARD.encode(format!("x-token: {secret}\r\nhost: a\r\n"))),
            ("base64 of bytes", STANDARD.encode([b"\0\x01\xff\x0a", secret.as_bytes()].concat())),
            ("base64 of json", STANDARD.encode(format!("{{\"key\": \"{}\"}}", json(secret)))),
            ("base64 of percent", STANDARD.encode(format!("key={}", percent(secret)))),
            ("base64 twice", STANDARD.encode(STANDARD.encode(secret))),
            ("base64 in an address", percent(&STANDARD.encode(secret))),
            ("base64 in json", json(&STANDARD.encode(secret))),
            ("base64 in lines", split(&STANDARD.encode(secret), 19, "\r\n")),
            ("base64 in cut lines", split(&STANDARD.encode(format!("ab{secret}")), 7, "\\r\\n ")),
            ("basic", format!("Basic {}", STANDARD.encode(format!("user:{secret}")))),
        ];
        for by in [
            "\n", "\r\n", " ", "\t", "\r\n ", "\\\n", " \\\n  ", "=\r\n", "\"\n\"", "\\n", "%0A",
            "%0d%0a", "&#10;", "<br>", "<br/>\n", "<wbr>", "\u{200b}", "\u{ad}", "\u{a0}", "\n> ",
        ] {
            all.push((by, split(secret, 5, by)));
        }
        all.into_iter().map(|(name, text)| (format!("{name:?}"), text)).collect()
    }

    #[test]
    fn a_secret_is_taken_out_in_every_spelling_and_nothing_else_is() {
        for secret in [KEY, SIGNATURE, "hunter2-of-mine", "pass%41word\\n1", "Ab3+/xY9"] {
            for (name, spelled) in spellings(secret) {
                for (before, after) in [("", ""), ("token: '", "' is bad"), ("x=", "&y=1")] {
                    let text = format!("{before}{spelled}{after}");
                    let left = redacted(&[secret], &text);
                    let kept =
                        left.starts_with(before.trim_end_matches('=')) && left.ends_with(after);
                    let mut rest = left.replace(before, "").replace(after, "");
                    for around in ["Basic ", "%3D", "=", "\\r\\n ", "\r\n", "***"] {
                        rest = rest.replace(around, "");
                    }
                    let marks = rest.len() < 2;
                    assert!(
                        kept && marks && left.contains("***"),
                        "{name} of {secret}: {left} {rest}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_secret_that_is_cut_is_taken_out_from_eight_characters_on() {
        for secret in [KEY, SIGNATURE] {
            for length in [8, 9, 15, 16, 30] {
                for end in ["", "...", "\u{2026}", "\"", "\"}", " (truncated)", "...\"}"] {
                    let text = format!("bad token {}{end}", &secret[..length]);
                    assert_eq!(redacted(&[secret], &text), format!("bad token ***{end}"), "{text}");
                }
            }
            let part = &secret[11..28];
            assert_eq!(redacted(&[secret], &format!("bad {part}, really")), "bad ***, really");
            let code = STANDARD.encode(format!("a:{secret}"));
            assert_eq!(redacted(&[secret], &format!("Basic {}", &code[..17])), "Basic ***");
        }
        let short = format!("bad token {}", &KEY[..7]);
        assert_eq!(redacted(&[KEY], &short), short);
    }

    #[test]
    fn ordinary_words_stay_what_they_are() {
        let words = ["database", "20261130", "Password", "short", "secret7", "mysql"];
        for text in [
            "The database does not exist.",
            "database not found: Database orders",
            "error: database is locked, try after 20261130T080000Z",
            "wrong Password",
            "a secret7 of mysql is too short",
            "{\"database\": \"orders\"}",
        ] {
            assert_eq!(redacted(&words, text), text);
        }
        for (text, left) in [
            ("{\"password\": \"database\"}", "{\"password\": \"***\"}"),
            ("{\\\"password\\\":\\\"database\\\"}", "{\\\"password\\\":\\\"***\\\"}"),
            ("password=database&user=a", "password=***&user=a"),
            ("password=database is wrong", "password=*** is wrong"),
            ("X-Auth-Token: 20261130\nHost: a", "X-Auth-Token: ***\nHost: a"),
            ("the password 'database' is wrong", "the password '***' is wrong"),
            ("Basic ZGF0YWJhc2U=", "Basic ***"),
        ] {
            assert_eq!(redacted(&words, text), left);
        }
        assert_eq!(redacted(&["CorrectHorse"], "not CorrectHorse"), "not ***", "is no word");
    }

    #[test]
    fn what_is_signed_is_taken_out_and_the_hosts_and_paths_in_it_stay() {
        let signed = "GET\n/v3/0123456789abcdef0123456789abcdef/jobs/\nid=0b1c2d3e&limit=100\n\
                      content-type:application/json\nhost:dds.cn-north-4.myhuaweicloud.com\n\
                      x-sdk-date:20261130T080000Z\n\ncontent-type;host;x-sdk-date\n\
                      e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let mut secrets = Secrets::default();
        secrets.text(signed);
        let redactor = Redactor::new(secrets);
        for quoted in [signed.to_owned(), json(signed), percent(signed), signed.replace('\n', "|")]
        {
            let left = redactor.redacted(&format!("verify fail, it is:{quoted}")).unwrap();
            assert!(!left.contains("x-sdk-date") && !left.contains("e3b0c4"), "{left}");
            assert!(left.starts_with("verify fail"), "{left}");
        }
        for text in [
            "no such API: GET /v3/0123456789abcdef0123456789abcdef/jobs",
            "dns error: dds.cn-north-4.myhuaweicloud.com",
            "content-type:application/json is not supported",
        ] {
            assert_eq!(redactor.redacted(text), None);
        }
    }

    #[test]
    fn the_secrets_of_a_request_are_what_it_carries_and_its_sensitive_headers() {
        let mut request = Request::new(());
        for (name, value, sensitive) in [
            ("x-auth-token", "token-0123456789", true),
            ("authorization", "Bearer bearer-0123456789==", true),
            ("content-type", "application/json", true),
            ("x-tc-action", "DescribeDBInstances", false),
        ] {
            let mut value = http::HeaderValue::from_static(value);
            value.set_sensitive(sensitive);
            request.headers_mut().insert(name, value);
        }
        Secrets::carried_by(request.extensions_mut()).value("password-0123456789");
        let redactor = Redactor::new(Secrets::of(&request));
        let text = "token-0123456789, bearer-0123456789==, password-0123456789: application/json, \
                    DescribeDBInstances";
        let left = "***, ***, ***: application/json, DescribeDBInstances";
        assert_eq!(redactor.redacted(text).as_deref(), Some(left));
        assert!(!format!("{redactor:?}").contains("0123"));
    }

    #[test]
    fn a_secret_in_a_long_text_is_found_wherever_it_is() {
        let line = "The quick brown fox jumps over the lazy dog. ";
        for before in [0, PIECE / 4 * 3 - 20, PIECE - 20, PIECE * 2] {
            let filler: String = line.chars().cycle().take(before).collect();
            let text = format!("{filler} {} {line}", STANDARD.encode(KEY));
            assert_eq!(redacted(&[KEY], &text), format!("{filler} *** {line}"), "behind {before}");
        }
    }

    /// One more way to write a text down.
    fn written(text: &str, how: u8) -> String {
        match how {
            0 => percent(text),
            1 => json(text),
            2 => STANDARD.encode(text),
            3 => split(text, 7, "\n"),
            4 => hexadecimal(text),
            5 => each(text, |c| format!("&#{};", c as u32)),
            _ => format!("{{\"token\": \"{text}\"}}"),
        }
    }

    #[test]
    fn every_three_encodings_in_a_row_are_seen_through() {
        for secret in ["000aA0aA+AaAA+0+a00aA0aA", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYzz"] {
            for ways in (0..7 * 7 * 7).map(|n: u16| [n % 7, n / 7 % 7, n / 49]) {
                let write = |text: String, how: &u16| written(&text, u8::try_from(*how).unwrap());
                let text = ways.iter().fold(secret.to_owned(), write);
                let left = redacted(&[secret], &format!("refused: {text}"));
                assert!(left.contains("***") && left.starts_with("refused: "), "{ways:?}: {left}");
                assert_eq!(redactor(&[secret]).redacted(&left), None, "{ways:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn however_often_a_secret_is_encoded_it_is_taken_out(
            secret in "[A-Za-z0-9+/]{24,60}",
            ways in proptest::collection::vec(0_u8..7, 0..4),
        ) {
            let text = ways.iter().fold(secret.clone(), |text, how| written(&text, *how));
            let left = redacted(&[&secret], &format!("refused: {text}"));
            prop_assert!(left.contains("***") && left.starts_with("refused: "), "{}", left);
            prop_assert_eq!(redactor(&[&secret]).redacted(&left), None);
        }

        #[test]
        fn no_text_makes_it_panic_and_none_without_the_secret_is_changed(text in "\\PC{0,200}") {
            let redactor = redactor(&[KEY, SIGNATURE]);
            prop_assert_eq!(redactor.redacted(&text), None);
            let _ = redactor.redacted(&format!("%\\u&#{text}\n<{text}"));
        }
    }
}
