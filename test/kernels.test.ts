/**
 * The conformance suite of kernels with the primitives of oneDNN. With CHOIR_REQUIRE_DNNL=1 it fails without oneDNN.
 *
 * @slow
 */
import { describe, expect, test } from 'vitest'
import { findDnnl } from '../src/engine/cpu/primitives/onednn/library.ts'
import { checkKernels } from './support/kernel-suite.ts'

const library = findDnnl()
const missing = 'missing' in library ? library.missing : null

test.runIf(process.env.CHOIR_REQUIRE_DNNL === '1')('oneDNN is installed, as CHOIR_REQUIRE_DNNL requires', () => {
  expect(missing).toBeNull()
})

describe.skipIf(missing)(missing ? `kernels (skipped: ${missing})` : 'kernels agree with float64', checkKernels)
