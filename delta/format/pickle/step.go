package pickle

import (
	"encoding/binary"
	"strconv"
	"strings"

	"coral/delta/format"
)

// step executes one opcode. A text longer than a name may be is not kept.
func (m *machine) step() {
	switch op := m.r.Byte(); op {
	case opStop:
		m.stopped = m.r.Err() == nil
	case opMark:
		m.mark()
	case opPop:
		if len(m.stack) == m.floor() && len(m.marks) > 0 {
			m.toMark() // Python's POP drops a mark, too
			return
		}
		m.pop()
	case opPopMark:
		m.toMark()
	case opDup:
		m.push(m.top())
	case opProto, opFrame, opExt1, opExt2, opExt4, opNextBuffer, opReadOnlyBuffer:
		m.rare(op)
	case opNone, opNewTrue, opNewFalse, opFloat, opBinFloat, opInt, opLong, opBinInt, opBinInt1, opBinInt2, opLong1, opLong4:
		m.push(m.number(op))
	case opString, opUnicode, opBinString, opShortBinString, opBinUnicode, opShortBinUnicode, opBinUnicode8:
		m.push(m.text(op))
	case opBinBytes, opShortBinBytes, opBinBytes8, opByteArray8:
		m.r.Skip(m.length(op))
		m.push(nothing{})
	case opPut, opBinPut, opLongBinPut, opMemoize, opGet, opBinGet, opLongBinGet:
		m.remember(op)
	case opEmptyTuple:
		m.push(m.tuple(nil))
	case opTuple:
		m.push(m.tuple(m.toMark()))
	case opTuple1, opTuple2, opTuple3:
		m.tupleOf(int(op-opTuple1) + 1)
	case opEmptyList, opEmptySet:
		m.push(m.node(list))
	case opList, opFrozenSet:
		n := m.node(list)
		m.add(n, m.toMark()...)
		m.push(n)
	case opEmptyDict:
		m.push(m.node(dict))
	case opDict:
		n := m.node(dict)
		m.set(n, m.toMark())
		m.push(n)
	case opAppend:
		v := m.pop()
		m.add(m.top(), v)
	case opAppends, opAddItems:
		items := m.toMark()
		m.add(m.top(), items...)
	case opSetItem:
		v := m.pop()
		k := m.pop()
		m.set(m.top(), []any{k, v})
	case opSetItems:
		pairs := m.toMark()
		m.set(m.top(), pairs)
	default:
		m.construct(op)
	}
}

// construct executes the opcodes that name or make objects.
func (m *machine) construct(op byte) {
	switch op {
	case opGlobal:
		module := m.line()
		m.push(m.global(module, m.line()))
	case opStackGlobal:
		name, ok := m.pop().(text)
		module, ok2 := m.pop().(text)
		if !ok || !ok2 {
			m.push(nothing{})
			return
		}
		m.push(m.global(string(module), string(name)))
	case opPersID:
		m.line()
		m.push(nothing{})
	case opBinPersID:
		m.push(m.persistent(m.pop()))
	case opReduce, opNewObj:
		args := m.pop()
		m.push(m.call(m.pop(), args))
	case opNewObjEx:
		m.pop() // keyword arguments
		args := m.pop()
		m.push(m.call(m.pop(), args))
	case opInst:
		module := m.line()
		class := m.global(module, m.line())
		m.push(m.call(class, m.tuple(m.toMark())))
	case opObj:
		items := m.toMark()
		if len(items) == 0 {
			m.fail("object without a class")
			return
		}
		m.push(m.call(items[0], m.tuple(items[1:])))
	case opBuild:
		state := m.pop()
		m.build(m.top(), state)
	default:
		m.fail("unknown opcode " + strconv.Itoa(int(op)))
	}
}

// rare executes the opcodes that mean nothing here.
func (m *machine) rare(op byte) {
	switch op {
	case opProto:
		m.r.Skip(1)
	case opFrame:
		m.r.Skip(8)
	case opExt1:
		m.r.Skip(1)
		m.push(nothing{})
	case opExt2:
		m.r.Skip(2)
		m.push(nothing{})
	case opExt4:
		m.r.Skip(4)
		m.push(nothing{})
	case opNextBuffer:
		m.push(nothing{})
	case opReadOnlyBuffer:
		m.top()
	}
}

// number reads the operand of an opcode for a number, None or a truth value.
func (m *machine) number(op byte) any {
	switch op {
	case opNewTrue:
		return boolean(true)
	case opNewFalse:
		return boolean(false)
	case opBinFloat:
		if m.details != nil {
			return m.scalar(op)
		}
		m.r.Skip(8)
	case opNone:
		if m.details != nil {
			return m.scalar(op)
		}
	case opBinInt:
		return m.integer(int64(int32(m.r.U32())))
	case opBinInt1:
		return m.integer(int64(m.r.Byte()))
	case opBinInt2:
		return m.integer(int64(m.r.U16()))
	case opLong1:
		return m.long(uint64(m.r.Byte()))
	case opLong4:
		return m.long(uint64(m.r.U32()))
	case opFloat:
		if m.details != nil {
			return m.scalar(op)
		}
		m.line()
	case opInt, opLong:
		s := m.line()
		if op == opInt && (s == "00" || s == "01") {
			return boolean(s == "01")
		}
		if n, err := strconv.ParseInt(strings.TrimSuffix(s, "L"), 10, 64); err == nil {
			return m.integer(n)
		}
	}
	return nothing{}
}

func (m *machine) integer(n int64) any {
	if n < 0 || n > 255 {
		m.spend(8) // smaller ones are boxed without allocating
	}
	return integer(n)
}

// long reads a little-endian two's complement number of n bytes; one that does not fit 64 bits is nothing.
func (m *machine) long(n uint64) any {
	if n > 8 {
		m.r.Skip(n)
		return nothing{}
	}
	var b [8]byte
	if copy(b[:], m.r.Next(int(n))) > 0 && b[n-1]&0x80 != 0 {
		for i := n; i < 8; i++ {
			b[i] = 0xff
		}
	}
	return m.integer(int64(binary.LittleEndian.Uint64(b[:])))
}

// length reads the length operand of an opcode for text or bytes.
func (m *machine) length(op byte) uint64 {
	switch op {
	case opShortBinString, opShortBinUnicode, opShortBinBytes:
		return uint64(m.r.Byte())
	case opBinString, opBinUnicode, opBinBytes:
		return uint64(m.r.U32())
	}
	return m.r.U64()
}

// text reads a string. Escapes of protocol 0 are kept as they are: names seldom have any, and any stable name will do.
func (m *machine) text(op byte) any {
	var s string
	ok := true
	switch op {
	case opUnicode:
		s, ok = m.r.Line(format.MaxNameBytes)
	case opString:
		s, ok = m.r.Line(format.MaxNameBytes)
		if n := len(s); n >= 2 && s[0] == s[n-1] {
			s = s[1 : n-1]
		}
	default:
		s, ok = m.r.String(m.length(op), format.MaxNameBytes)
	}
	if !ok {
		return nothing{}
	}
	m.spend(16 + len(s))
	return text(s)
}

// line reads a short operand line; a longer one is cut to nothing.
func (m *machine) line() string {
	s, _ := m.r.Line(format.MaxNameBytes)
	return s
}

func (m *machine) global(module, name string) any {
	m.spend(17 + len(module) + len(name))
	return global(module + " " + name)
}

// remember executes the memo opcodes.
func (m *machine) remember(op byte) {
	switch op {
	case opMemoize:
		m.put(uint32(len(m.memo) + len(m.sparse)))
	case opBinPut:
		m.put(uint32(m.r.Byte()))
	case opLongBinPut:
		m.put(m.r.U32())
	case opBinGet:
		m.get(uint32(m.r.Byte()))
	case opLongBinGet:
		m.get(m.r.U32())
	case opPut, opGet:
		i, err := strconv.ParseUint(m.line(), 10, 32)
		if err != nil {
			m.fail("memo index is no number")
			return
		}
		if op == opPut {
			m.put(uint32(i))
		} else {
			m.get(uint32(i))
		}
	}
}
