package worktree

import (
	"container/list"
	"context"
	"sync"
	"time"
)

const (
	ingestWorkers = 2
	batchBytes    = 256 << 20       // a batch of ingested files is committed at this size,
	batchAge      = 2 * time.Second // at this age, or when nothing else is to be done
	retryFirst    = time.Second

	// Ingest uses all cores, and so does a program that writes checkpoints: beside each other cp of 1.2 GB ran at half its speed (2 cores, 2026-11-24). So
	// ingest lets open writers go first, unless much waits already or has waited long. A drain does not wait.
	yieldBytes = 1 << 30
	yieldTime  = 5 * time.Second
	yieldTick  = 50 * time.Millisecond
	yieldBusy  = 100 * time.Millisecond // since the last change of a name

	// Files from this size on are ingested one at a time, in the order they were closed: Ingest itself uses all cores for one, and only when a
	// checkpoint is stored can the next one's tensors have it for a base. Two at a time, five checkpoints took 5 % more.
	largeFile = 8 << 20
	retryMax  = time.Minute
	maxErrors = 100 // listed in QueueStatus
)

// jobState is where a job is.
type jobState uint8

const (
	jobWaiting jobState = iota // in queue.waiting
	jobWorking                 // a worker reads the file
	jobDone                    // in queue.batch: stored, not yet durable
	jobFailed                  // in queue.failed, to be tried again
)

// job is one dirty file to be ingested. A file has at most one. Guarded by queue.mu; t and n do not change.
type job struct {
	t      *Tree
	n      *node
	seq    uint64 // when it was closed, in order
	elem   *list.Element
	state  jobState
	due    time.Time // not before
	again  uint64    // seq of a close since work on it began; 0 if none
	size   int64
	label  string // branch:path, as last seen
	epoch  uint64 // drain epoch in which the last attempt began
	err    error
	result ingested
}

// ingested is what became of a job's file.
type ingested struct {
	gen  uint64 // of the content that was read
	stat spoolStat
}

// queue is the ingest queue of a Set. It is not bounded: what waits in it is references to inodes that are in memory anyhow. Every job leaves it by its
// file having become clean, or having been removed or opened for writing again (whose close brings it back).
type queue struct {
	set    *Set
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu        sync.Mutex
	cond      *sync.Cond
	timer     *time.Timer
	jobs      *list.List // all, by seq
	waiting   []*job     // by due, as the delay is the same for all
	head      int        // of waiting
	failed    []*job
	batch     []*job
	batchSize int64
	batchFrom time.Time
	seq       uint64
	epoch     uint64
	hurry     int // drains in progress: delays do not count
	paused    int
	working   int // workers and snapshots that may use the store
	large     int // workers with a large file: 0 or 1
	stopped   bool
	bytes     int64
	retryAt   time.Time
	backoff   time.Duration
}

func newQueue(s *Set) *queue {
	q := &queue{set: s, jobs: list.New()}
	q.cond = sync.NewCond(&q.mu)
	q.ctx, q.cancel = context.WithCancel(context.Background())
	q.timer = time.AfterFunc(time.Hour, q.wake)
	return q
}

func (q *queue) wake() {
	q.mu.Lock()
	q.cond.Broadcast()
	q.mu.Unlock()
}

func (q *queue) start() {
	for range ingestWorkers {
		q.wg.Add(1)
		go q.worker()
	}
}

// close ends the workers after the file in work, or at once when ctx ends.
func (q *queue) close(ctx context.Context) {
	q.mu.Lock()
	q.stopped = true
	q.cond.Broadcast()
	q.mu.Unlock()
	stop := context.AfterFunc(ctx, q.cancel)
	q.wg.Wait()
	stop()
	q.cancel()
	q.timer.Stop()
}

// add queues a dirty file, or notes that it was closed again. The tree's lock is held. wrote is false when only a reader closed it.
func (q *queue) add(t *Tree, n *node, wrote bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	j := n.x.job
	due := time.Now().Add(q.set.opts.IngestDelay)
	if j == nil {
		q.seq++
		j = &job{t: t, n: n, seq: q.seq}
		n.x.job = j
		j.elem = q.jobs.PushBack(j)
		q.enqueue(j, due)
	} else if wrote {
		j.due = due
		if j.state == jobWorking || j.state == jobDone {
			q.seq++
			j.again = q.seq
		}
	}
	q.bytes += n.size - j.size
	j.size = n.size
}

// enqueue makes a job wait until due. q.mu is held.
func (q *queue) enqueue(j *job, due time.Time) {
	j.state, j.due = jobWaiting, due
	q.waiting = append(q.waiting, j)
	if len(q.waiting)-q.head == 1 || q.hurry > 0 {
		q.cond.Broadcast()
	}
}

// requeue puts a job back whose file changed while it was in work. Neither lock is needed to be held but q.mu is taken.
func (q *queue) requeue(j *job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if j.again > 0 {
		j.seq, j.again = j.again, 0
		q.jobs.MoveToBack(j.elem)
	}
	q.enqueue(j, time.Now().Add(q.set.opts.IngestDelay))
	q.cond.Broadcast()
}

// finish takes a job out of the queue. Its node has forgotten it.
func (q *queue) finish(j *job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.jobs.Remove(j.elem)
	q.bytes -= j.size
	q.cond.Broadcast()
}

// fail keeps a job for another attempt.
func (q *queue) fail(j *job, err error) {
	if q.ctx.Err() == nil {
		q.set.opts.Logger.Warn("file is not ingested", "op", "ingest", "err", err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	j.state, j.err = jobFailed, err
	if q.hurry > 0 && j.epoch < q.epoch { // a drain that came since wants an attempt of its own
		q.enqueue(j, time.Now())
		return
	}
	if len(q.failed) == 0 || time.Now().After(q.retryAt) {
		q.backoff = min(max(2*q.backoff, retryFirst), retryMax)
		q.retryAt = time.Now().Add(q.backoff)
	}
	q.failed = append(q.failed, j)
	q.cond.Broadcast()
}

// next takes the job to work on, or says when to look again. q.mu is held.
func (q *queue) next() (*job, time.Time) {
	now := time.Now()
	if len(q.failed) > 0 && !now.Before(q.retryAt) {
		q.retryFailed()
	}
	for q.head < len(q.waiting) {
		j := q.waiting[q.head]
		if q.hurry == 0 && j.due.After(now) {
			if q.tailLater(j) {
				continue
			}
			return nil, j.due
		}
		if q.yields(j, now) {
			return nil, now.Add(yieldTick)
		}
		if q.large > 0 && j.size >= largeFile {
			return nil, now.Add(time.Hour) // the worker that has the other one wakes us
		}
		q.pop()
		j.state, j.epoch, j.again, j.err = jobWorking, q.epoch, 0, nil
		return j, now
	}
	if len(q.failed) > 0 {
		return nil, q.retryAt
	}
	return nil, now.Add(time.Hour)
}

// yields says whether a job that is due lets users go first: who writes, or makes and renames many files. q.mu is held.
func (q *queue) yields(j *job, now time.Time) bool {
	if q.hurry > 0 || q.bytes >= yieldBytes || now.Sub(j.due) >= yieldTime {
		return false
	}
	return q.set.writing.Load() > 0 || time.Duration(now.UnixNano()-q.set.changed.Load()) < yieldBusy
}

// tailLater moves the first waiting job, which was closed again since it came, behind those that are due before it.
func (q *queue) tailLater(j *job) bool {
	if q.head+1 >= len(q.waiting) || !q.waiting[q.head+1].due.Before(j.due) {
		return false
	}
	q.pop()
	q.waiting = append(q.waiting, j)
	return true
}

func (q *queue) pop() {
	q.waiting[q.head] = nil
	q.head++
	if q.head > 1024 && q.head*2 > len(q.waiting) {
		q.waiting = append(q.waiting[:0], q.waiting[q.head:]...)
		q.head = 0
	}
}

func (q *queue) retryFailed() {
	now := time.Now()
	for _, j := range q.failed {
		q.enqueue(j, now)
	}
	q.failed = nil
}

// worker ingests files until the queue is closed, and commits batches.
func (q *queue) worker() {
	defer q.wg.Done()
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if q.stopped || q.paused > 0 {
			if len(q.batch) > 0 && q.working == 0 {
				q.commitBatch()
				continue
			}
			if q.stopped {
				return
			}
			q.cond.Wait()
			continue
		}
		j, at := q.next()
		if j != nil {
			q.work(j)
			continue
		}
		if len(q.batch) > 0 {
			// While files are still to come, as when a program writes many, each moment between two of them is no reason to sync.
			if q.hurry > 0 || q.working == 0 && q.head == len(q.waiting) {
				q.commitBatch()
				continue
			}
			if age := q.batchFrom.Add(batchAge); age.Before(at) {
				at = age
			}
		}
		if wait := time.Until(at); wait > 0 {
			q.timer.Reset(wait)
			q.cond.Wait()
		}
		if len(q.batch) > 0 && time.Since(q.batchFrom) > batchAge {
			q.commitBatch()
		}
	}
}

// work runs one job. q.mu is held, and released meanwhile.
func (q *queue) work(j *job) {
	q.working++
	large := 0
	if j.size >= largeFile {
		large = 1
	}
	q.large += large
	q.mu.Unlock()
	q.ingest(j)
	q.mu.Lock()
	q.working--
	q.large -= large
	q.cond.Broadcast()
	if q.batchSize >= batchBytes || len(q.batch) > 0 && time.Since(q.batchFrom) >= batchAge {
		q.commitBatch()
	}
}

// commitBatch makes a batch durable. q.mu is held, and released meanwhile.
func (q *queue) commitBatch() {
	batch := q.batch
	q.batch, q.batchSize = nil, 0
	q.working++
	q.mu.Unlock()
	q.commit(batch)
	q.mu.Lock()
	q.working--
	q.cond.Broadcast()
}
