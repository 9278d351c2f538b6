//! Server-sent events from a body that comes in arbitrary pieces.

/// What has come and is not a whole line yet.
#[derive(Debug, Default)]
pub(super) struct EventStream {
    pending: Vec<u8>,
}

impl EventStream {
    /// The data of every line that a piece completes. Other lines, comments among them, are passed over.
    pub(super) fn push(&mut self, piece: &[u8]) -> Vec<String> {
        self.pending.extend_from_slice(piece);
        let Some(end) = self.pending.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let rest = self.pending.split_off(end + 1);
        let whole = std::mem::replace(&mut self.pending, rest);
        let text = String::from_utf8_lossy(&whole);
        let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
        data.map(|data| data.trim_start().to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::EventStream;

    #[test]
    fn pieces_do_not_matter() {
        let text = "data: {\"a\": \"ä\"}\n\n: alive\r\ndata:b\r\n\ndata: [DONE]\n\n".as_bytes();
        let want = ["{\"a\": \"ä\"}", "b", "[DONE]"];
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let mut stream = EventStream::default();
                let pieces = [&text[..first], &text[first..second], &text[second..]];
                let got: Vec<String> = pieces.iter().flat_map(|piece| stream.push(piece)).collect();
                assert_eq!(got, want, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn an_unfinished_line_waits() {
        assert!(EventStream::default().push(b"data: half").is_empty());
    }
}
