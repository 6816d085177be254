package record

import "errors"

// Error kinds. Compare with [errors.Is]; every error names the folder or file.
var (
	// ErrExists says that a folder to be created holds files of a run already.
	ErrExists = errors.New("already holds a run")

	// ErrNotRun says that a folder is not a run folder.
	ErrNotRun = errors.New("not a run folder")

	// ErrNewer says that a run folder was written by a newer raftlab.
	ErrNewer = errors.New("written by a newer version of raftlab")

	// ErrDamaged says that a file of the run is not what was once written: cut
	// off, edited into nonsense or not of this run.
	ErrDamaged = errors.New("damaged")

	// ErrInvalid says that a manifest or trial contradicts itself.
	ErrInvalid = errors.New("invalid")

	// ErrLocked says that another runner is writing to the folder.
	ErrLocked = errors.New("in use by another runner")

	// ErrReadOnly says that the folder was opened for reading.
	ErrReadOnly = errors.New("opened for reading only")
)
