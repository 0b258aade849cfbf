//! A checked model: slices of the caller's bytes and a few numbers, nothing decoded is kept.
//!
//! [`Model::parse`] is total: it accepts bytes or says what is wrong with them, and never panics.
//! What it has accepted can't make anything fail afterwards: records decode, tensors lie in the
//! arena, parameters in the weight section, and accumulators within 32 bits.

use crate::decision::{Decision, decide};
use crate::features::Features;
use crate::format::{
    FEATURE_RECORD_LEN, FORMAT_VERSION, HEADER_LEN, Header, MAX_ARENA_LEN, MAX_FILE_LEN, MAX_OPS,
    MAX_STEPS, Meta, NUMERICS_VERSION, Numbers, OpFault, ParseError, Preprocess, Reader, Source,
    Tensor, crc32,
};
use crate::ops::{self, ALL_KINDS, Op, OpKind, Parameters, Record, Visitor, argmax, check_place};
use crate::unpacked;

/// What a program lets a model ask of it: see [`Model::parse_with`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Most elementary steps (multiply-accumulates, comparisons, …) of one inference;
    /// [`Op::steps`] counts them.
    pub steps: u64,
}

impl Limits {
    /// So many steps.
    pub const fn steps(steps: u64) -> Self {
        Self { steps }
    }
}

impl Default for Limits {
    /// [`MAX_STEPS`], which is much for a small device.
    fn default() -> Self {
        Self::steps(MAX_STEPS)
    }
}

/// A model whose bytes have been checked.
///
/// `KINDS` is the set of operator kinds that the program can run; see [`Model::parse_only`].
#[derive(Clone, Debug)]
pub struct Model<'a, const KINDS: u32 = ALL_KINDS> {
    header: Header,
    graph: &'a [u8],
    ops: &'a [u8],
    section: &'a [u8],
    input: Tensor,
    output: Tensor,
    last: OpKind,
    op_count: u16,
    is_chain: bool,
}

impl<'a> Model<'a> {
    /// Checks the bytes of a `.bbk` file.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        Self::parse_only(bytes)
    }

    /// As [`Self::parse`], of a file that may come from anywhere, for a device that has to answer in
    /// time: a small file can state shapes whose products take a core many minutes. What stays within
    /// the limits is a matter of measuring one model on the device.
    pub fn parse_with(bytes: &'a [u8], limits: Limits) -> Result<Self, ParseError> {
        Self::parse_only_with(bytes, limits)
    }

    /// Takes the bytes of a `.bbk` file that [`Self::parse`] has accepted before, say in the
    /// firmware's build script: the checks, about 3 kB of code, aren't linked.
    ///
    /// What only a check would notice isn't an error here. Of bytes that were never accepted,
    /// inference may compute nonsense, or take as long as the shapes say; it still neither
    /// panics nor touches memory other than the arena, since safe Rust and the kernels' own
    /// conditions see to that, not the checks.
    pub fn trust(bytes: &'a [u8]) -> Result<Self, ParseError> {
        Self::trust_only(bytes)
    }
}

impl<'a, const KINDS: u32> Model<'a, KINDS> {
    /// As [`Model::parse`], for a program that holds the code of the operators in `KINDS` alone:
    /// `Model::<{ op_kinds(MODEL) }>::parse_only(MODEL)` links no operator that isn't used.
    pub fn parse_only(bytes: &'a [u8]) -> Result<Self, ParseError> {
        Self::parse_only_with(bytes, Limits::default())
    }

    /// As [`Model::parse_with`], with the operators in `KINDS` alone.
    pub fn parse_only_with(bytes: &'a [u8], limits: Limits) -> Result<Self, ParseError> {
        let header = check_header(bytes)?;
        check_checksum(&header, bytes)?;
        Self::read::<true>(header, bytes, limits)
    }

    /// As [`Model::trust`], with the operators in `KINDS` alone.
    pub fn trust_only(bytes: &'a [u8]) -> Result<Self, ParseError> {
        Self::read::<false>(check_header(bytes)?, bytes, Limits::default())
    }

    /// Reads the graph, and proves it sound and within `limits` if `PROVE`.
    fn read<const PROVE: bool>(
        header: Header,
        bytes: &'a [u8],
        limits: Limits,
    ) -> Result<Self, ParseError> {
        if header.op_kinds & !KINDS & known_kinds() != 0 {
            return Err(ParseError::KindsLeftOut { missing: header.op_kinds & !KINDS });
        }
        let (graph, section) = cut(&header, bytes)?;
        let mut reader = Reader::new(graph);
        let input = Numbers::input_of_meta(&mut reader);
        if !reader.is_sound() {
            return Err(ParseError::Graph { offset: HEADER_LEN });
        }
        if PROVE {
            check_meta(graph, &header, section)?;
        }
        let ops = reader.rest();
        let mut walk = Walk::<PROVE, KINDS>::new(&input, section, limits);
        let mut rest = ops;
        while !rest.is_empty() {
            let offset = HEADER_LEN.saturating_add(graph.len().saturating_sub(rest.len()));
            ops::visit::<KINDS>(&mut rest, &mut walk).ok_or(ParseError::Graph { offset })?;
            walk.sound?;
        }
        let last = walk.last.ok_or(ParseError::NoOps)?;
        if PROVE {
            walk.check_header(&header)?;
        }
        let (output, op_count) = (walk.previous, walk.count);
        let is_chain = walk.is_chain;
        Ok(Self { header, graph, ops, section, input, output, last, op_count, is_chain })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Names, scales and preprocessing, decoded from the graph.
    pub fn meta(&self) -> Meta<'a> {
        Meta::read(&mut Reader::new(self.graph))
    }

    /// What [`Self::meta`] says without its texts.
    pub(crate) fn numbers(&self) -> Numbers {
        Numbers::of_meta(&mut Reader::new(self.graph))
    }

    /// The input.
    pub fn input(&self) -> &Tensor {
        &self.input
    }

    /// The output.
    pub fn output(&self) -> &Tensor {
        &self.output
    }

    /// The operator that writes the output.
    pub fn last_kind(&self) -> OpKind {
        self.last
    }

    /// The class that an output predicts: what the model's argmax found, or the position of the largest
    /// value, the first of equals.
    pub fn class_of(&self, output: &[i8]) -> usize {
        match (self.last, output) {
            (OpKind::Argmax, &[low, high]) => {
                usize::from(u16::from_le_bytes([low as u8, high as u8]))
            }
            (_, output) => argmax(output),
        }
    }

    /// How far the largest output must be above all others for the model to be sure, in steps of the
    /// output; 0 for a model that always is.
    pub fn margin(&self) -> u8 {
        self.header.margin
    }

    /// What an output says, by the model's own margin: the class, or that the model isn't sure. Of rows
    /// that an `Engine` gave, too.
    pub fn decision_of(&self, output: &[i8]) -> Decision {
        match self.last {
            OpKind::Argmax => Decision::Class(self.class_of(output)),
            _ => decide(output, self.header.margin),
        }
    }

    /// An output as real numbers: scale · (q − zero point).
    pub fn reals_of(&self, output: &[i8]) -> impl Iterator<Item = f32> {
        let scale = self.numbers().output_scale;
        let zero_point = i16::from(self.output.zero_point);
        output.iter().map(move |&q| scale * f32::from(i16::from(q).wrapping_sub(zero_point)))
    }

    /// Number of operators.
    pub fn op_count(&self) -> usize {
        usize::from(self.op_count)
    }

    /// Bytes of RAM that inference needs.
    pub fn arena_len(&self) -> usize {
        self.header.arena_len as usize
    }

    /// Bytes that weights take unpacked, as [`crate::weights_len`] gives them at compile time.
    pub fn weights_len(&self) -> usize {
        unpacked::total(self)
    }

    /// The weight section.
    pub fn section(&self) -> &'a [u8] {
        self.section
    }

    /// Whether each operator reads the output of the one before, and nothing else; false where no
    /// operator of the program asks.
    pub(crate) fn is_chain(&self) -> bool {
        let asks = const { asks_for_chain(KINDS) };
        asks && self.is_chain
    }

    /// The records of the operators.
    pub(crate) fn records(&self) -> &'a [u8] {
        self.ops
    }

    /// The operators in order, each decoded from the graph on its turn.
    pub fn ops(&self) -> Ops<'a, KINDS> {
        Ops { rest: self.ops, index: 0, previous: self.input.clone() }
    }

    /// The features of this crate that it needs.
    pub fn features(&self) -> Features {
        self.ops().fold(Features::default(), |all, step| all | step.op.features())
    }

    /// The name of an operator, if the file holds names.
    pub fn op_name(&self, index: usize) -> Option<&'a str> {
        self.meta().op_name(index)
    }

    /// The name of a class, if the file holds names.
    pub fn class_name(&self, class: usize) -> Option<&'a str> {
        self.meta().class_name(class)
    }

    /// Multiply-accumulates of one inference.
    pub fn macs(&self) -> u64 {
        self.ops().fold(0, |sum, step| sum.saturating_add(step.parameters().macs))
    }
}

/// The operators of a model in order.
#[derive(Clone, Debug)]
pub struct Ops<'a, const KINDS: u32 = ALL_KINDS> {
    rest: &'a [u8],
    index: u16,
    previous: Tensor,
}

/// One operator in its place.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its number, counted from 0.
    pub index: u16,
    /// What it is.
    pub op: Op,
    /// The output of the operator before, or the model's input.
    pub previous: Tensor,
}

impl Step {
    /// Which operator.
    pub fn kind(&self) -> OpKind {
        self.op.kind()
    }

    /// The tensors that it reads.
    pub fn inputs(&self) -> impl Iterator<Item = &Tensor> {
        self.op.inputs().iter().map(|source| source.resolve(&self.previous))
    }

    /// The tensor that it writes.
    pub fn output(&self) -> &Tensor {
        self.op.output()
    }

    /// Its parameters in numbers.
    pub fn parameters(&self) -> Parameters {
        self.op.parameters(&self.previous)
    }
}

impl<const KINDS: u32> Iterator for Ops<'_, KINDS> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let op = Op::take::<KINDS>(&mut self.rest)?;
        let previous = core::mem::replace(&mut self.previous, op.output().clone());
        let index = self.index;
        self.index = index.wrapping_add(1);
        Some(Step { index, op, previous })
    }
}

/// Whether a program with these kinds needs to know: for room in the arena, and for poolings that
/// convolutions do.
const fn asks_for_chain(kinds: u32) -> bool {
    let pools = OpKind::Conv2d.bit() | OpKind::MaxPool2d.bit();
    kinds & OpKind::CodedConv2d.bit() != 0 || kinds & pools == pools
}

/// Whether outputs are scores of several classes, as far as a file says what they are.
fn has_scores(last: Option<OpKind>, outputs: usize) -> bool {
    outputs > 1 && last != Some(OpKind::Argmax)
}

/// The kinds that this version knows; a bit beyond them is a mistake, not something left out.
fn known_kinds() -> u32 {
    OpKind::ALL.iter().fold(0, |kinds, kind| kinds | kind.bit())
}

/// Magic, versions and length.
fn check_header(bytes: &[u8]) -> Result<Header, ParseError> {
    if bytes.len() < HEADER_LEN {
        return Err(ParseError::TooShort { len: bytes.len() });
    }
    let header = Header::read(bytes).ok_or(ParseError::Magic)?;
    if header.format_version != FORMAT_VERSION {
        return Err(ParseError::FormatVersion { found: header.format_version });
    }
    if header.numerics_version != NUMERICS_VERSION {
        return Err(ParseError::NumericsVersion { found: header.numerics_version });
    }
    if header.reserved != 0 {
        return Err(ParseError::Reserved);
    }
    let stated = header.file_len;
    if stated as usize != bytes.len() || stated > MAX_FILE_LEN {
        return Err(ParseError::FileLength { stated, actual: bytes.len() });
    }
    Ok(header)
}

fn check_checksum(header: &Header, bytes: &[u8]) -> Result<(), ParseError> {
    let computed =
        crc32(&[bytes.get(..8).unwrap_or_default(), bytes.get(12..).unwrap_or_default()]);
    if computed == header.crc {
        Ok(())
    } else {
        Err(ParseError::Crc { stated: header.crc, computed })
    }
}

/// The graph and the weight section.
fn cut<'a>(header: &Header, bytes: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), ParseError> {
    let stated = header.graph_len;
    let wrong = ParseError::GraphLength { stated };
    if stated > MAX_FILE_LEN {
        return Err(wrong);
    }
    let end = HEADER_LEN.saturating_add(stated as usize);
    let graph = bytes.get(HEADER_LEN..end).ok_or(wrong)?;
    let section = bytes.get(header.weights_start()..).ok_or(wrong)?;
    let gap = bytes.get(end..header.weights_start()).ok_or(wrong)?;
    if gap.iter().any(|&byte| byte != 0) {
        return Err(ParseError::Graph { offset: end });
    }
    Ok((graph, section))
}

/// The input, the scales and the preprocessing.
fn check_meta(graph: &[u8], header: &Header, section: &[u8]) -> Result<(), ParseError> {
    let mut reader = Reader::new(graph);
    let meta = Numbers::of_meta(&mut reader);
    if !reader.is_sound() || !Meta::has_sound_texts(graph) {
        return Err(ParseError::Graph { offset: HEADER_LEN });
    }
    if header.arena_len > MAX_ARENA_LEN {
        return Err(ParseError::ArenaLength {
            stated: header.arena_len,
            needed: MAX_ARENA_LEN as usize,
        });
    }
    let placed = check_place(&meta.input, header.arena_len as usize).is_ok();
    if !placed || meta.input.len() != header.input_len as usize {
        return Err(ParseError::Input);
    }
    // Positive and finite, told from the bits: devices without a float unit link no float code.
    let is_scale = |scale: f32| (1..0x7F80_0000).contains(&scale.to_bits());
    if !is_scale(meta.input_scale) || !is_scale(meta.output_scale) {
        return Err(ParseError::Scale);
    }
    let sound = match &meta.preprocess {
        Preprocess::None => true,
        Preprocess::Bytes(channels) => {
            let one_each = channels.len() == meta.input.shape.channels();
            (channels.len() == 1 || one_each) && channels.iter().all(|channel| channel.is_sound())
        }
        Preprocess::Features { offset } => {
            let len = meta.input.len().saturating_mul(FEATURE_RECORD_LEN);
            (*offset as usize).saturating_add(len) <= section.len()
        }
    };
    if sound { Ok(()) } else { Err(ParseError::Preprocess) }
}

/// What is gathered on the way through the operators, which are proved sound if `PROVE`.
struct Walk<'a, const PROVE: bool, const KINDS: u32> {
    section: &'a [u8],
    previous: Tensor,
    last: Option<OpKind>,
    count: u16,
    end: usize,
    kinds: u32,
    steps: u64,
    limits: Limits,
    sound: Result<(), ParseError>,
    is_chain: bool,
}

impl<const PROVE: bool, const KINDS: u32> Visitor for Walk<'_, PROVE, KINDS> {
    fn visit<R: Record>(&mut self, op: &R, _: &[u8]) {
        if !op.features().are_built() {
            self.sound = Err(ParseError::Op { index: self.count, fault: OpFault::LeftOut });
        } else if PROVE {
            self.sound = self.prove(op);
        }
        if const { asks_for_chain(KINDS) } {
            self.is_chain &= op.inputs().iter().all(|source| matches!(source, Source::Previous));
        }
        self.last = Some(R::KIND);
        self.count = self.count.saturating_add(1);
        self.previous = op.output().clone();
    }
}

impl<'a, const PROVE: bool, const KINDS: u32> Walk<'a, PROVE, KINDS> {
    fn new(input: &Tensor, section: &'a [u8], limits: Limits) -> Self {
        Self {
            section,
            previous: input.clone(),
            last: None,
            count: 0,
            end: if PROVE { input.end() } else { 0 },
            kinds: 0,
            steps: 0,
            limits,
            sound: Ok(()),
            is_chain: true,
        }
    }

    fn prove<R: Record>(&mut self, op: &R) -> Result<(), ParseError> {
        let index = self.count;
        if index >= MAX_OPS {
            return Err(ParseError::TooManyOps);
        }
        op.prove(&self.previous, self.section, MAX_ARENA_LEN as usize)
            .map_err(|fault| ParseError::Op { index, fault })?;
        self.steps = self.steps.saturating_add(op.steps(&self.previous));
        let (steps, most) = (self.steps, self.limits.steps);
        if steps > most {
            return Err(ParseError::TooMuchWork { index, steps, most });
        }
        for source in op.inputs() {
            if let Source::At(tensor) = source {
                self.end = self.end.max(tensor.end());
            }
        }
        self.end = self.end.max(op.output().end());
        self.kinds |= R::KIND.bit();
        Ok(())
    }

    /// The header says the same as the graph.
    fn check_header(&self, header: &Header) -> Result<(), ParseError> {
        if self.kinds != header.op_kinds {
            return Err(ParseError::Kinds { stated: header.op_kinds, found: self.kinds });
        }
        if self.end != header.arena_len as usize {
            return Err(ParseError::ArenaLength { stated: header.arena_len, needed: self.end });
        }
        if self.previous.len() != header.output_len as usize {
            return Err(ParseError::Output);
        }
        if header.margin != 0 && !has_scores(self.last, self.previous.len()) {
            return Err(ParseError::Margin);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
