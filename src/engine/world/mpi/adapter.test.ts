import { expect, test } from 'vitest'
import { versionOf } from './adapter.ts'

test.each([
  ['Open MPI v5.0.7, package: Debian OpenMPI, ident: 5.0.7, repo rev: v5.0.7, Feb 14, 2025\0', 'Open MPI 5.0.7'],
  ['MPICH Version:      4.2.1\nMPICH Release date: Wed Apr 17\nMPICH ABI:          16:1:4\n', 'MPICH 4.2.1'],
  ['Intel(R) MPI Library 2021.10 for Linux* OS\n\n', 'Intel(R) MPI Library 2021.10 for Linux* OS'],
  ['MVAPICH Version      :\t3.0\nMVAPICH Release date :', 'MVAPICH Version      :\t3.0'],
])('the version of a library is short: %s', (text, version) => {
  expect(versionOf(text)).toBe(version)
})
