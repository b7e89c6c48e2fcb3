//! A pickle machine that cannot run anything (Python's `pickletools`, protocol 2, which torch.save writes).
//!
//! A pickle is a program for a stack machine, and its REDUCE calls whatever GLOBAL names. Here four names mean
//! something: `collections.OrderedDict`, `torch._utils._rebuild_tensor_v2`, `torch._utils._rebuild_parameter` and the
//! classes `torch.…Storage`. Any other name stands for an opaque value, and so does what is made by calling it, building
//! on it or filling it; nothing is looked up, imported or called.
//!
//! Values lie in one table and refer to each other by index: memoised cycles are harmless, and no code
//! descends into values recursively. An opcode adds at most one value, and the size of the pickle and the counts of
//! values, stacked items and marks are bounded.

mod calls;
mod cursor;
mod value;

use std::collections::{BTreeSet, HashMap};

use super::error::ImportError;
use cursor::Cursor;
pub(super) use value::{Pickle, Value, ValueId};

/// The longest pickle that is run; tensors' data lie outside of it.
pub(super) const MAX_PICKLE_BYTES: u64 = 64 << 20;
/// Most values of a pickle; a large network with its optimiser's state has some ten thousand.
const MAX_VALUES: usize = 4 << 20;
/// Most items on the stack; dicts and lists are filled by a thousand items at a time.
const MAX_STACK: usize = 1 << 20;
/// Deepest nesting of unfinished tuples, lists and dicts.
const MAX_MARKS: usize = 1000;
/// The one opaque value: any object, and plain values that nothing here needs.
const OPAQUE: ValueId = 0;

/// Runs a pickle.
///
/// # Errors
/// [`ImportError::Pickle`] when it is damaged, beyond the bounds, uses opcodes that torch.save does not, or describes
/// a tensor that leaves its storage.
pub(super) fn unpickle(bytes: &[u8]) -> Result<Pickle, ImportError> {
    if bytes.len() as u64 > MAX_PICKLE_BYTES {
        return Err(refused(format!("it has {} bytes, more than {MAX_PICKLE_BYTES}", bytes.len())));
    }
    let mut machine = Machine {
        input: Cursor::new(bytes),
        values: vec![Value::Opaque],
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        ignored: BTreeSet::new(),
    };
    let root = machine.run()?;
    Ok(Pickle::new(machine.values, root, machine.ignored))
}

fn refused(cause: impl Into<String>) -> ImportError {
    ImportError::Pickle(cause.into())
}

struct Machine<'a> {
    input: Cursor<'a>,
    values: Vec<Value>,
    stack: Vec<ValueId>,
    /// Heights of the stack at which MARK came.
    marks: Vec<usize>,
    memo: HashMap<u32, ValueId>,
    ignored: BTreeSet<String>,
}

impl Machine<'_> {
    fn run(&mut self) -> Result<ValueId, ImportError> {
        loop {
            let at = self.input.position();
            let opcode = self.input.u8()?;
            match opcode {
                b'.' => return self.pop(),
                0x80 => self.protocol()?,
                b'(' => self.mark()?,
                b'0' => drop(self.pop()?),
                b'1' => drop(self.pop_to_mark()?),
                b'2' => {
                    let top = self.top()?;
                    self.push_id(top)?;
                }
                // None, True and False.
                b'N' | 0x88 | 0x89 => self.push_id(OPAQUE)?,
                b'K' => {
                    let value = self.input.u8()?;
                    self.push(Value::Int(i64::from(value)))?;
                }
                b'M' => {
                    let value = u16::from_le_bytes(self.input.array()?);
                    self.push(Value::Int(i64::from(value)))?;
                }
                b'J' => {
                    let value = i32::from_le_bytes(self.input.array()?);
                    self.push(Value::Int(i64::from(value)))?;
                }
                0x8a => {
                    let length = u32::from(self.input.u8()?);
                    self.long(length)?;
                }
                0x8b => {
                    let length = self.input.u32()?;
                    self.long(length)?;
                }
                b'G' => {
                    self.input.take(8)?;
                    self.push_id(OPAQUE)?;
                }
                b'X' => {
                    let length = self.input.u32()?;
                    let text = self.input.utf8(length)?;
                    self.push(Value::Text(text))?;
                }
                // Bytes, and strings of Python 2.
                b'U' | b'C' => {
                    let length = u32::from(self.input.u8()?);
                    self.input.take(length)?;
                    self.push_id(OPAQUE)?;
                }
                b'T' | b'B' => {
                    let length = self.input.u32()?;
                    self.input.take(length)?;
                    self.push_id(OPAQUE)?;
                }
                b'}' => self.push(Value::Dict(Vec::new()))?,
                b']' | b')' => self.push(Value::Sequence(Vec::new()))?,
                b't' | b'l' => {
                    let items = self.pop_to_mark()?;
                    self.push(Value::Sequence(items))?;
                }
                b'd' => {
                    self.push(Value::Dict(Vec::new()))?;
                    let dict = self.pop()?;
                    let items = self.pop_to_mark()?;
                    self.push_id(dict)?;
                    self.set_items(&items)?;
                }
                0x85..=0x87 => {
                    let items = self.pop_many(usize::from(opcode - 0x84))?;
                    self.push(Value::Sequence(items))?;
                }
                b'a' => {
                    let items = self.pop_many(1)?;
                    self.append(&items)?;
                }
                b'e' => {
                    let items = self.pop_to_mark()?;
                    self.append(&items)?;
                }
                b's' => {
                    let items = self.pop_many(2)?;
                    self.set_items(&items)?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.set_items(&items)?;
                }
                b'q' => {
                    let key = u32::from(self.input.u8()?);
                    self.memoise(key)?;
                }
                b'r' => {
                    let key = self.input.u32()?;
                    self.memoise(key)?;
                }
                b'h' => {
                    let key = u32::from(self.input.u8()?);
                    self.recall(key)?;
                }
                b'j' => {
                    let key = self.input.u32()?;
                    self.recall(key)?;
                }
                b'c' => self.global()?,
                b'Q' => self.persistent()?,
                b'R' => self.reduce()?,
                0x81 => self.new_object()?,
                // State of an object; an OrderedDict's is its attributes.
                b'b' => drop(self.pop()?),
                _ => {
                    return Err(refused(format!(
                        "opcode {opcode:#04x} at byte {at} is not one of torch.save"
                    )));
                }
            }
        }
    }

    fn protocol(&mut self) -> Result<(), ImportError> {
        match self.input.u8()? {
            0..=2 => Ok(()),
            version => Err(refused(format!("it has protocol {version}, torch.save writes 2"))),
        }
    }

    // ---- the stack ----

    fn push(&mut self, value: Value) -> Result<(), ImportError> {
        let id = ValueId::try_from(self.values.len()).ok().filter(|_| self.values.len() < MAX_VALUES);
        let id = id.ok_or_else(|| refused(format!("it has more than {MAX_VALUES} values")))?;
        self.values.push(value);
        self.push_id(id)
    }

    fn push_id(&mut self, id: ValueId) -> Result<(), ImportError> {
        if self.stack.len() >= MAX_STACK {
            return Err(refused(format!("it stacks more than {MAX_STACK} values")));
        }
        self.stack.push(id);
        Ok(())
    }

    fn mark(&mut self) -> Result<(), ImportError> {
        if self.marks.len() >= MAX_MARKS {
            return Err(refused(format!("it nests deeper than {MAX_MARKS}")));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    /// Height below which nothing may be popped.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<ValueId, ImportError> {
        let above = self.stack.get(self.floor()..).unwrap_or_default();
        above.last().copied().ok_or_else(|| refused("it takes more from the stack than there is"))
    }

    fn pop(&mut self) -> Result<ValueId, ImportError> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<ValueId>, ImportError> {
        let begin = self.stack.len().checked_sub(count).filter(|&begin| begin >= self.floor());
        let begin = begin.ok_or_else(|| refused("it takes more from the stack than there is"))?;
        Ok(self.stack.split_off(begin))
    }

    fn pop_to_mark(&mut self) -> Result<Vec<ValueId>, ImportError> {
        let mark = self.marks.pop().ok_or_else(|| refused("a mark is missing"))?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn memoise(&mut self, key: u32) -> Result<(), ImportError> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), ImportError> {
        let id = self.memo.get(&key).copied();
        self.push_id(id.ok_or_else(|| refused(format!("it recalls {key}, which it has not kept")))?)
    }

    // ---- values ----

    fn value(&self, id: ValueId) -> &Value {
        self.values.get(id as usize).unwrap_or(&Value::Opaque)
    }

    fn sequence(&self, id: ValueId) -> Option<&[ValueId]> {
        match self.value(id) {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    fn long(&mut self, length: u32) -> Result<(), ImportError> {
        let bytes = self.input.take(length)?;
        if bytes.len() > 8 {
            return self.push_id(OPAQUE);
        }
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        let mut wide = [if negative { 0xFF } else { 0 }; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        self.push(Value::Int(i64::from_le_bytes(wide)))
    }

    /// Adds items to the list on top of the stack.
    fn append(&mut self, items: &[ValueId]) -> Result<(), ImportError> {
        let list = self.top()?;
        match self.values.get_mut(list as usize) {
            Some(Value::Sequence(list)) => list.extend_from_slice(items),
            Some(Value::Opaque) => {}
            _ => return Err(refused("it appends to what is no list")),
        }
        Ok(())
    }

    /// Adds keys and values, in turn, to the dict on top of the stack.
    fn set_items(&mut self, items: &[ValueId]) -> Result<(), ImportError> {
        let dict = self.top()?;
        let (pairs, rest) = items.as_chunks::<2>();
        match self.values.get_mut(dict as usize) {
            Some(Value::Dict(dict)) if rest.is_empty() => {
                dict.extend(pairs.iter().map(|[key, value]| (*key, *value)));
            }
            Some(Value::Opaque) => {}
            _ => return Err(refused("it sets items of what is no dict")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
