package local

import (
	"sync"

	"coral/internal/oid"
	"coral/objstore"
)

// A cache of index records. Stat is on the path of every block that is read, and a map lookup costs a twentieth of a bbolt transaction.
const (
	infoShards = 16
	infoPerGen = 2048 // records in each half of a shard: at most 65,536 in all, about 12 MB
)

// infos keeps what was read from the index lately, in two generations a shard: when the young one is full it becomes the old one.
type infos struct {
	shards [infoShards]infoShard
}

type infoShard struct {
	mu         sync.Mutex
	young, old map[oid.ID]objstore.Info
	epoch      uint64
}

func (c *infos) shard(id oid.ID) *infoShard { return &c.shards[id[0]%infoShards] }

// get returns the record of id, and the epoch to give to put when there is none.
func (c *infos) get(id oid.ID) (info objstore.Info, ok bool, epoch uint64) {
	s := c.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if info, ok = s.young[id]; ok {
		return info, true, s.epoch
	}
	if info, ok = s.old[id]; ok {
		s.add(info)
	}
	return info, ok, s.epoch
}

// put keeps info unless the cache was cleared since epoch: it was read from the index before a change then.
func (c *infos) put(info objstore.Info, epoch uint64) {
	s := c.shard(info.ID)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch == epoch {
		s.add(info)
	}
}

func (s *infoShard) add(info objstore.Info) {
	if len(s.young) >= infoPerGen {
		s.old, s.young = s.young, nil
	}
	if s.young == nil {
		s.young = make(map[oid.ID]objstore.Info)
	}
	s.young[info.ID] = info
}

// clear forgets everything.
func (c *infos) clear() {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.young, s.old = nil, nil
		s.epoch++
		s.mu.Unlock()
	}
}
