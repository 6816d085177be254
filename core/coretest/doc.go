// Package coretest holds the conformance suites and shared benchmarks of the
// contracts in package core: whoever writes a log store, a transport, a wire or
// a network calls one function per contract from a test of their own.
//
//	func TestStore(t *testing.T) {
//		coretest.TestLogStore(t, func(t *testing.T, dir string) core.LogStore {
//			s, err := mystore.Open(dir)
//			if err != nil {
//				t.Fatal(err)
//			}
//			return s
//		})
//	}
//
// Every property of a contract is a subtest with an instance of its own and a
// deadline: a property that hangs fails with the stacks of all goroutines
// instead of taking the test binary with it. A property that a subject does not
// promise (keeping data where it declares that it keeps none, say) is not run at
// all, so that a suite never reports a skip.
//
// The package is for tests only: no program imports it, and it never looks
// behind the contract's interface, asserts a timing or mocks a part.
package coretest
