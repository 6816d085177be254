// Package workload generates seeded operations and puts them on a target, as a
// closed loop of clients or as an open loop with a schedule, and records the
// latency of each. It never knows what the target is, and it prints and stores
// nothing.
//
// What is measured. The window begins after the warm-up and lasts for the
// duration.
//
//   - Latency is that of every operation that was to start inside the window,
//     also if it ended after it: otherwise the slowest would be missing.
//   - Throughput counts the operations, started whenever, that completed inside
//     the window.
//   - In a closed loop an operation starts when its client is free. In an open
//     loop it starts when the schedule says so, whether or not anything was free
//     to run it: a target that stalls is charged with the operations that had to
//     wait (G. Tene, "How NOT to Measure Latency", on coordinated omission).
//   - A failed operation is counted and never recorded as a latency.
package workload
