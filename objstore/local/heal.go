package local

import (
	"coral/internal/oid"
	"coral/objstore/index"
)

// Records that were found damaged are remembered, so that storing the same bytes again makes them whole: Has says no, and Put appends a frame that takes the
// place of the damaged one. Over restarts they are kept in one hint: what is lost with it a check finds again.

// hintDamaged is the key of that hint. The value is the ids, one after the other.
const hintDamaged = "damaged records"

// maxDamaged bounds how many are remembered: as many as a hint holds.
const maxDamaged = index.MaxHint / oid.Size

// suspect remembers that the record of id, as the index has it, is damaged.
func (s *Store) suspect(id oid.ID) {
	s.mu.Lock()
	known := s.damaged[id] || len(s.damaged) >= maxDamaged
	if !known {
		s.damaged[id] = true
	}
	s.mu.Unlock()
	if !known {
		s.noteDamaged()
	}
}

// healed forgets an id that was stored again.
func (s *Store) healed(id oid.ID) {
	s.mu.Lock()
	delete(s.damaged, id)
	s.mu.Unlock()
	s.infos.clear()
	s.noteDamaged()
}

// noteDamaged writes the hint, with the next Sync.
func (s *Store) noteDamaged() {
	s.mu.RLock()
	value := make([]byte, 0, len(s.damaged)*oid.Size)
	for id := range s.damaged {
		value = append(value, id[:]...)
	}
	s.mu.RUnlock()
	s.SetHint([]byte(hintDamaged), value)
}

// loadDamaged reads the hint.
func (s *Store) loadDamaged() {
	value := s.Hint([]byte(hintDamaged))
	for ; len(value) >= oid.Size; value = value[oid.Size:] {
		s.damaged[oid.ID(value[:oid.Size])] = true
	}
}

// isDamaged reports whether the record of id is known to be damaged.
func (s *Store) isDamaged(id oid.ID) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.damaged[id]
}
