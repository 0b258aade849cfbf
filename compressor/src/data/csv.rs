//! CSV: one example a line, one column its label, all others numbers.

use std::path::Path;

use ::csv::{ErrorKind, ReaderBuilder, StringRecord, Trim};

use super::idx::gunzip;
use super::{
    Column, DataConfig, DataError, MAX_DATA_BYTES, MAX_EXAMPLE_VALUES, MAX_EXAMPLES, Part,
    RawLabels, Values, array, bounded, layout,
};
use crate::files;

/// Most characters of a wrong field that a message repeats.
const MAX_SHOWN: usize = 40;

/// Numbered columns that are taken for names: 0 and 1 may well be an example's values.
const MIN_COUNTED: usize = 3;

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
pub(crate) fn read(path: &Path, config: &DataConfig) -> Result<Part, DataError> {
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
pub(crate) fn parse(path: &Path, bytes: &[u8], config: &DataConfig) -> Result<Part, DataError> {
    // A byte order mark, as spreadsheets write it, would become part of the first name.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let delimiter = config.delimiter.unwrap_or_else(|| delimiter_of(bytes));
    let delimiter = u8::try_from(delimiter)
        .ok()
        .filter(u8::is_ascii)
        .ok_or(DataError::Delimiter { found: delimiter })?;
    let (lines, taken) = bounded::Lines::new(bytes);
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .delimiter(delimiter)
        .from_reader(lines);
    let mut table = Table::new(path, config);
    let mut record = StringRecord::new();
    loop {
        let line = reader.position().line();
        match reader.read_record(&mut record) {
            Ok(true) => {
                taken.set(0);
                let line = record.position().map_or(line, |position| line_of(bytes, position));
                table.line(line, &record)?;
            }
            Ok(false) => return table.finish(),
            Err(source) => {
                let line = match source.kind() {
                    ErrorKind::Utf8 { pos: Some(pos), .. } => line_of(bytes, pos),
                    _ => line,
                };
                return Err(DataError::Csv { path: path.to_owned(), line, source });
            }
        }
    }
}

/// The line on which a record stands. The reader's own count is of the place where the last one ended,
/// which is before the line feed of a carriage return and before empty lines.
fn line_of(bytes: &[u8], position: &::csv::Position) -> u64 {
    let rest = usize::try_from(position.byte()).ok().and_then(|at| bytes.get(at..));
    let breaks = rest.unwrap_or_default().iter().take_while(|byte| matches!(byte, b'\r' | b'\n'));
    position.line() + breaks.filter(|&&byte| byte == b'\n').count() as u64
}

/// What separates the columns of a table's first line: a comma unless there is none, but semicolons or
/// tabs.
fn delimiter_of(bytes: &[u8]) -> char {
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let line = line.get(..bounded::MAX_LINE_BYTES as usize).unwrap_or(line);
    let has = |delimiter: &&char| line.contains(&(**delimiter as u8));
    [',', ';', '\t'].iter().find(has).copied().unwrap_or(',')
}

/// What was read so far.
struct Table<'a> {
    path: &'a Path,
    config: &'a DataConfig,
    /// Names of the columns, empty without a header.
    names: Vec<String>,
    /// What the columns hold, once the first line is known.
    columns: Option<Columns>,
    header_due: bool,
    examples: usize,
    labels: Vec<String>,
    targets: Vec<f32>,
    values: Vec<f32>,
}

/// What the columns of a table hold.
#[derive(Clone, Copy)]
struct Columns {
    count: usize,
    /// The label's column.
    label: Option<usize>,
    /// How many columns at the end are what a model should answer.
    targets: usize,
}

impl Columns {
    /// Numbers of one example.
    fn width(&self) -> usize {
        self.count - usize::from(self.label.is_some()) - self.targets
    }
}

impl<'a> Table<'a> {
    fn new(path: &'a Path, config: &'a DataConfig) -> Self {
        Self {
            path,
            config,
            names: Vec::new(),
            columns: None,
            header_due: config.header.unwrap_or(true),
            examples: 0,
            labels: Vec::new(),
            targets: Vec::new(),
            values: Vec::new(),
        }
    }

    fn line(&mut self, line: u64, record: &StringRecord) -> Result<(), DataError> {
        let columns = match self.columns {
            Some(columns) => columns,
            None => match self.first(record)? {
                Some(columns) => columns,
                None => return Ok(()),
            },
        };
        let expected = columns.count;
        if record.len() != expected {
            let (path, found) = (self.path.to_owned(), record.len());
            return Err(DataError::CsvColumns { path, line, found, expected });
        }
        self.examples += 1;
        if self.examples > MAX_EXAMPLES {
            return Err(self.too_many("examples", self.examples, MAX_EXAMPLES));
        }
        for (index, field) in record.iter().enumerate() {
            if Some(index) == columns.label {
                self.labels.push(field.to_owned());
                continue;
            }
            match field.parse::<f32>() {
                Ok(value) if !value.is_finite() => {
                    return Err(self.not_a_number(line, index, field));
                }
                Ok(value) if index >= columns.count - columns.targets => self.targets.push(value),
                Ok(value) => self.values.push(value),
                Err(_) => return Err(self.not_a_number(line, index, field)),
            }
        }
        Ok(())
    }

    /// Takes the first line for what the columns are; `None` where it holds their names.
    fn first(&mut self, record: &StringRecord) -> Result<Option<Columns>, DataError> {
        // Checked before names are kept, which take more than their characters.
        self.check_width(record.len().saturating_sub(1))?;
        if self.header_due {
            self.names = record.iter().map(str::to_owned).collect();
            if self.is_example(record) {
                if self.config.fit.is_none() {
                    return Err(DataError::NoHeader { path: self.path.to_owned() });
                }
                self.header_due = false;
                self.names.clear();
            }
        }
        let columns = self.columns_of(record.len())?;
        self.columns = Some(columns);
        Ok((!self.header_due).then_some(columns))
    }

    /// Whether what should be a header looks like an example: its features are numbers, and neither
    /// are they counted nor is the label's column among them by its name.
    fn is_example(&self, record: &StringRecord) -> bool {
        let label = self.columns_of(record.len()).ok().and_then(|columns| columns.label);
        if label.is_some() && matches!(self.config.label_column, Some(Column::Name(_))) {
            return false;
        }
        let features: Vec<(usize, &str)> = record
            .iter()
            .enumerate()
            .filter(|&(at, field)| Some(at) != label && !field.is_empty())
            .collect();
        // Numbered columns, as pandas writes them, are names.
        let counted = |number: fn(usize, usize) -> usize| {
            let mut ranked = features.iter().enumerate();
            ranked.all(|(rank, &(at, field))| field == number(rank, at).to_string())
        };
        let is_counted = match self.config.fit {
            Some(_) => counted(|_, at| at),
            None if features.len() < MIN_COUNTED => false,
            None => counted(|_, at| at) || counted(|rank, _| rank) || counted(|rank, _| rank + 1),
        };
        !features.is_empty()
            && features.iter().all(|(_, field)| field.parse::<f32>().is_ok())
            && !is_counted
    }

    /// What so many columns hold. For a model: its inputs, and a label or what it should answer, if
    /// there are more columns than inputs.
    fn columns_of(&self, count: usize) -> Result<Columns, DataError> {
        let labelled = |position| Columns { count, label: Some(position), targets: 0 };
        let Some(fit) = self.config.fit.as_ref().filter(|_| self.config.label_column.is_none())
        else {
            return Ok(labelled(self.label_position(count)?));
        };
        let width = fit.dims.iter().product::<usize>();
        let outputs = fit.outputs.filter(|&outputs| outputs > 1);
        match count.checked_sub(width) {
            Some(0) => Ok(Columns { count, label: None, targets: 0 }),
            Some(rest) if rest > 1 && Some(rest) == outputs => {
                Ok(Columns { count, label: None, targets: rest })
            }
            _ => Ok(labelled(self.label_position(count)?)),
        }
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
        let Some(columns) = self.columns else {
            return Err(DataError::Empty { path: path.to_owned() });
        };
        let width = columns.width();
        let arranged = layout::arranged(path, &[width], self.config)?;
        let labels = match columns {
            Columns { targets: 0, label: None, .. } => RawLabels::None,
            Columns { targets: 0, .. } if self.config.fit.is_some() => {
                RawLabels::of_texts(self.labels)
            }
            Columns { targets: 0, .. } => RawLabels::Names(self.labels),
            Columns { targets, .. } => RawLabels::Reals { width: targets, values: self.targets },
        };
        let values = match arranged.first {
            Some(channels) => layout::channels_last(&self.values, width, channels),
            None => self.values,
        };
        let inputs = if self.config.pixels == Some(true) {
            Values::Bytes(array::to_pixels(path, width, &values)?)
        } else {
            Values::Floats(values)
        };
        Ok(Part { shape: arranged.shape, inputs, labels })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::Shape;

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
    fn an_example_is_no_header() {
        let plain = DataConfig::default();
        for text in ["3.7,3.8,a\n4.4,3.7,b\n", "1,2,a\n", ",3.8,a\n", "7,8,9\n1,2,3\n"] {
            let error = read_text(text, &plain).unwrap_err();
            assert!(matches!(error, DataError::NoHeader { .. }), "{text}: {error}");
        }
        for names in ["0,1,2,3", "1,2,3,kind", ",0,1,2,kind", "kind,a,b"] {
            let text = format!("{names}\n{}1\n", "5,".repeat(names.matches(',').count()));
            let part = read_text(&text, &plain).unwrap();
            assert_eq!(part.labels, RawLabels::Names(vec!["1".to_owned()]), "{names}");
        }
        let named = config(|c| c.label_column = Some(Column::Name("kind".to_owned())));
        assert_eq!(read_text("400.5,401,kind\n1,2,a\n", &named).unwrap().labels.count(), 1);
        let first = config(|c| c.label_column = Some(Column::Index(0)));
        let error = read_text("a,0.5,0.25\n", &first).unwrap_err();
        assert!(matches!(error, DataError::NoHeader { .. }), "{error}");
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
        let number = fails("a,y\r\n1,0\r\n\r\nx,1\r\n", &plain);
        assert!(matches!(number, DataError::CsvNumber { line: 4, .. }), "{number}");
        let error = parse(Path::new("a.csv"), b"a,y\n1,\xff\n", &plain).unwrap_err();
        assert!(matches!(error, DataError::Csv { line: 2, .. }), "{error}");
    }
}
