//! CSV: one example a line, one column its label, all others numbers.

use std::path::Path;

use ::csv::{ErrorKind, ReaderBuilder, StringRecord, Trim};

use super::found::{Found, show};
use super::idx::gunzip;
use super::{
    Column, DataConfig, DataError, MAX_DATA_BYTES, MAX_EXAMPLE_VALUES, MAX_EXAMPLES, Part,
    RawLabels, Values, array,
};
use crate::files;
use crate::network::Shape;

/// Most characters of a wrong field that a message repeats.
const MAX_SHOWN: usize = 40;

/// The training and, where named, the test file.
pub(super) fn load(config: &DataConfig) -> Result<(Part, Option<Part>), DataError> {
    let Some(path) = config.inputs.as_deref() else {
        return Err(DataError::MissingKey { kind: config.kind, key: "inputs" });
    };
    let test = config.test_inputs.as_deref().map(|path| read(path, config)).transpose()?;
    Ok((read(path, config)?, test))
}

/// Reads one file, gzipped or not.
///
/// # Errors
/// As [`parse`], and when the file can't be read or decompressed.
pub fn read(path: &Path, config: &DataConfig) -> Result<Part, DataError> {
    let bytes = files::read(path, MAX_DATA_BYTES)?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return parse(path, &gunzip(path, &bytes)?, config);
    }
    parse(path, &bytes, config)
}

/// Parses the bytes of a file; `path` is for messages.
///
/// # Errors
/// The line and the column that is wrong.
pub fn parse(path: &Path, bytes: &[u8], config: &DataConfig) -> Result<Part, DataError> {
    let delimiter = config.delimiter.unwrap_or(',');
    let delimiter = u8::try_from(delimiter)
        .ok()
        .filter(u8::is_ascii)
        .ok_or(DataError::Delimiter { found: delimiter })?;
    // A byte order mark, as spreadsheets write it, would become part of the first name.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .delimiter(delimiter)
        .from_reader(bytes);
    let mut table = Table::new(path, config);
    let mut record = StringRecord::new();
    loop {
        let line = reader.position().line();
        match reader.read_record(&mut record) {
            Ok(true) => {
                let line = record.position().map_or(line, ::csv::Position::line);
                table.line(line, &record)?;
            }
            Ok(false) => return table.finish(),
            Err(source) => {
                let line = match source.kind() {
                    ErrorKind::Utf8 { pos: Some(pos), .. } => pos.line(),
                    _ => line,
                };
                return Err(DataError::Csv { path: path.to_owned(), line, source });
            }
        }
    }
}

/// What was read so far.
struct Table<'a> {
    path: &'a Path,
    config: &'a DataConfig,
    /// Names of the columns, empty without a header.
    names: Vec<String>,
    /// Number of columns and the label's position, once the first line is known.
    columns: Option<(usize, usize)>,
    header_due: bool,
    labels: Vec<String>,
    values: Vec<f32>,
}

impl<'a> Table<'a> {
    fn new(path: &'a Path, config: &'a DataConfig) -> Self {
        Self {
            path,
            config,
            names: Vec::new(),
            columns: None,
            header_due: config.header.unwrap_or(true),
            labels: Vec::new(),
            values: Vec::new(),
        }
    }

    fn line(&mut self, line: u64, record: &StringRecord) -> Result<(), DataError> {
        let (count, label) = match self.columns {
            Some(columns) => columns,
            None => {
                if self.header_due {
                    self.names = record.iter().map(str::to_owned).collect();
                    if record.iter().all(|field| field.parse::<f32>().is_ok()) {
                        return Err(DataError::NoHeader { path: self.path.to_owned() });
                    }
                }
                let columns = (record.len(), self.label_position(record.len())?);
                self.columns = Some(columns);
                self.check_width(record.len().saturating_sub(1))?;
                if self.header_due {
                    return Ok(());
                }
                columns
            }
        };
        if record.len() != count {
            let (path, found) = (self.path.to_owned(), record.len());
            return Err(DataError::CsvColumns { path, line, found, expected: count });
        }
        if self.labels.len() == MAX_EXAMPLES {
            return Err(self.too_many("examples", self.labels.len() + 1, MAX_EXAMPLES));
        }
        for (index, field) in record.iter().enumerate() {
            if index == label {
                self.labels.push(field.to_owned());
                continue;
            }
            match field.parse::<f32>() {
                Ok(value) if value.is_finite() => self.values.push(value),
                _ => return Err(self.not_a_number(line, index, field)),
            }
        }
        Ok(())
    }

    fn not_a_number(&self, line: u64, index: usize, field: &str) -> DataError {
        let column = match self.names.get(index) {
            Some(name) => format!("{} (`{name}`)", index + 1),
            None => (index + 1).to_string(),
        };
        let text = field.chars().take(MAX_SHOWN).collect();
        DataError::CsvNumber { path: self.path.to_owned(), line, column, text }
    }

    fn too_many(&self, what: &'static str, found: usize, limit: usize) -> DataError {
        let (found, limit) = (found as u64, limit as u64);
        DataError::TooMany { path: self.path.to_owned(), what, found, limit }
    }

    fn check_width(&self, width: usize) -> Result<(), DataError> {
        if width > MAX_EXAMPLE_VALUES {
            return Err(self.too_many("values of one example", width, MAX_EXAMPLE_VALUES));
        }
        Ok(())
    }

    fn label_position(&self, columns: usize) -> Result<usize, DataError> {
        let wanted = self.config.label_column.clone().unwrap_or_default();
        let position = match &wanted {
            Column::Name(name) => self.names.iter().position(|n| n == name),
            Column::Index(index) => {
                let back = |n: u64| usize::try_from(n).ok().and_then(|n| columns.checked_sub(n));
                let position = match usize::try_from(*index) {
                    Ok(index) => Some(index),
                    Err(_) => back(index.unsigned_abs()),
                };
                position.filter(|&p| p < columns)
            }
        };
        position.ok_or_else(|| DataError::NoColumn {
            path: self.path.to_owned(),
            wanted: wanted.to_string(),
            present: match self.names.is_empty() {
                false => self.names.clone(),
                true => vec![format!("0…{}", columns.saturating_sub(1))],
            },
        })
    }

    fn finish(self) -> Result<Part, DataError> {
        let path = self.path;
        let Some((count, _)) = self.columns else {
            return Err(DataError::Empty { path: path.to_owned() });
        };
        let width = count.saturating_sub(1);
        let shape = match self.config.given_shape()? {
            Some(given) if given.len() == width => given,
            Some(given) => {
                let (found, expected) = (Found(vec![width]), show(given));
                return Err(DataError::Shape { path: path.to_owned(), found, expected });
            }
            None => Shape::Flat(width),
        };
        let inputs = if self.config.pixels == Some(true) {
            Values::Bytes(array::to_pixels(path, width, &self.values)?)
        } else {
            Values::Floats(self.values)
        };
        Ok(Part { shape, inputs, labels: RawLabels::Names(self.labels) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str, config: &DataConfig) -> Result<Part, DataError> {
        parse(Path::new("a.csv"), text.as_bytes(), config)
    }

    fn config(change: impl FnOnce(&mut DataConfig)) -> DataConfig {
        let mut config = DataConfig::default();
        change(&mut config);
        config
    }

    #[test]
    fn header_delimiter_label_and_shape() {
        let text = "\u{feff}a;class;b\n1;cat; 2.5\n3;dog;-4\n";
        let config = config(|c| {
            c.delimiter = Some(';');
            c.label_column = Some(Column::Name("class".to_owned()));
        });
        let part = read_text(text, &config).unwrap();
        assert_eq!(part.shape, Shape::Flat(2));
        assert_eq!(part.inputs, Values::Floats(vec![1.0, 2.5, 3.0, -4.0]));
        assert_eq!(part.labels, RawLabels::Names(vec!["cat".to_owned(), "dog".to_owned()]));
    }

    #[test]
    fn pixels_without_a_header() {
        let config = config(|c| {
            c.header = Some(false);
            c.label_column = Some(Column::Index(0));
            c.pixels = Some(true);
            c.shape = Some(vec![1, 2]);
        });
        let part = read_text("7,0,255\n8,1,2\n", &config).unwrap();
        assert_eq!(part.shape, Shape::Image { height: 1, width: 2, channels: 1 });
        assert_eq!(part.inputs, Values::Bytes(vec![0, 255, 1, 2]));
        let error = read_text("7,0,255\n8,1,256\n", &config).unwrap_err();
        assert!(matches!(error, DataError::Pixel { example: 1, .. }), "{error}");
    }

    #[test]
    fn errors_name_line_and_column() {
        let plain = DataConfig::default();
        let fails = |text: &str, config: &DataConfig| read_text(text, config).unwrap_err();
        let message = fails("a,y\n1,0\nx,1\n", &plain).to_string();
        assert!(message.starts_with("a.csv:3: column 1 (`a`) is \"x\""), "{message}");
        for bad in ["", "nan", "inf", "1e99"] {
            let error = fails(&format!("a,y\n{bad},1\n"), &plain);
            assert!(matches!(error, DataError::CsvNumber { line: 2, .. }), "{error}");
        }
        assert!(matches!(
            fails("a,b,y\n1,2,0\n1,2\n", &plain),
            DataError::CsvColumns { line: 3, found: 2, expected: 3, .. }
        ));
        assert!(matches!(fails("1,2\n3,4\n", &plain), DataError::NoHeader { .. }));
        assert!(matches!(fails("", &plain), DataError::Empty { .. }));
        let shaped = config(|c| c.shape = Some(vec![3]));
        assert!(matches!(fails("a,y\n1,2\n", &shaped), DataError::Shape { .. }));
        let wide = config(|c| c.delimiter = Some('é'));
        assert!(matches!(fails("a,y\n", &wide), DataError::Delimiter { found: 'é' }));
        for column in [Column::Index(2), Column::Index(-3), Column::Name("z".to_owned())] {
            let config = config(|c| c.label_column = Some(column));
            let error = fails("a,y\n1,2\n", &config);
            assert!(matches!(error, DataError::NoColumn { .. }), "{error}");
        }
        let error = parse(Path::new("a.csv"), b"a,y\n1,\xff\n", &plain).unwrap_err();
        assert!(matches!(error, DataError::Csv { line: 2, .. }), "{error}");
    }
}
