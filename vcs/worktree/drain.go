package worktree

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// pause waits until nothing uses the store and keeps it so until resume.
func (q *queue) pause(ctx context.Context) (resume func(), err error) {
	defer context.AfterFunc(ctx, q.wake)()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.paused++
	q.cond.Broadcast()
	for (q.working > 0 || len(q.batch) > 0) && ctx.Err() == nil && !q.stopped {
		q.cond.Wait()
	}
	var once sync.Once
	resume = func() {
		once.Do(func() {
			q.mu.Lock()
			q.paused--
			q.cond.Broadcast()
			q.mu.Unlock()
		})
	}
	if err := ctx.Err(); err != nil {
		q.paused--
		q.cond.Broadcast()
		return nil, fmt.Errorf("pause ingest: %w", err)
	}
	return resume, nil
}

// enter waits until the queue is not paused and counts the caller as using the store until leave.
func (q *queue) enter(ctx context.Context) (leave func(), err error) {
	defer context.AfterFunc(ctx, q.wake)()
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.paused > 0 && ctx.Err() == nil && !q.stopped {
		q.cond.Wait()
	}
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case q.stopped:
		return nil, errClosed
	}
	q.working++
	return func() {
		q.mu.Lock()
		q.working--
		q.cond.Broadcast()
		q.mu.Unlock()
	}, nil
}

// drain waits until the jobs of t (nil: of all trees) that are in the queue now have been finished or have failed since, and returns how many
// they were and the first failure.
func (q *queue) drain(ctx context.Context, t *Tree, progress func(QueueStatus)) (files int, bytes int64, err error) {
	defer context.AfterFunc(ctx, q.wake)()
	q.mu.Lock()
	defer q.mu.Unlock()
	target := q.seq
	for e := q.jobs.Front(); e != nil; e = e.Next() {
		if j := e.Value.(*job); t == nil || j.t == t {
			files++
			bytes += j.size
		}
	}
	if files == 0 {
		return 0, 0, nil
	}
	q.hurry++
	defer func() { q.hurry-- }()
	q.epoch++
	epoch := q.epoch
	q.retryFailed()
	q.cond.Broadcast()
	var reported time.Time
	for q.outstanding(t, target, epoch) {
		switch {
		case ctx.Err() != nil:
			return files, bytes, fmt.Errorf("wait for ingest: %w", ctx.Err())
		case q.stopped:
			return files, bytes, fmt.Errorf("wait for ingest: %w", errClosed)
		}
		if progress != nil && time.Since(reported) > 50*time.Millisecond {
			status := q.statusLocked()
			q.mu.Unlock()
			progress(status)
			q.mu.Lock()
			reported = time.Now()
			continue
		}
		q.cond.Wait()
	}
	for e := q.jobs.Front(); e != nil; e = e.Next() {
		j := e.Value.(*job)
		if j.seq > target {
			break
		}
		if (t == nil || j.t == t) && j.state == jobFailed {
			return files, bytes, j.err
		}
	}
	return files, bytes, nil
}

// outstanding says whether a job up to seq target is neither finished nor failed in this drain's epoch. q.mu is held.
func (q *queue) outstanding(t *Tree, target, epoch uint64) bool {
	for e := q.jobs.Front(); e != nil; e = e.Next() {
		j := e.Value.(*job)
		if j.seq > target {
			return false
		}
		if (t == nil || j.t == t) && (j.state != jobFailed || j.epoch < epoch) {
			return true
		}
	}
	return false
}

func (q *queue) status() QueueStatus {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.statusLocked()
}

func (q *queue) statusLocked() QueueStatus {
	s := QueueStatus{Files: q.jobs.Len(), Bytes: q.bytes}
	for e := q.jobs.Front(); e != nil && len(s.Errors) < maxErrors; e = e.Next() {
		j := e.Value.(*job)
		if j.state == jobWorking && s.Current == "" {
			s.Current = j.label
		}
		if j.err != nil {
			s.Errors = append(s.Errors, j.err.Error())
		}
	}
	return s
}
