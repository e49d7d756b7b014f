/**
 * Errors of ONNX Runtime, reported by op and layer of the model.
 *
 * A status is a heap object that its receiver must free. Its message names the ONNX node in one of several
 * phrasings; `Model.origins` has the origin of that node.
 */
import type { Origin } from '../../../core/graph/model.ts'
import { RuntimeError } from '../../contract/runtime.ts'
import type { Pointer } from '../../native/ffi.ts'
import type { OrtApi } from './api.ts'

/** Contents of a status. */
export interface Failure {
  readonly code: number
  readonly message: string
}

/** Reads and frees a status; undefined for success. */
export function takeFailure(api: OrtApi, status: Pointer | null): Failure | undefined {
  if (!status) return undefined
  try {
    return { code: api.GetErrorCode(status), message: api.GetErrorMessage(status) }
  } finally {
    api.ReleaseStatus(status)
  }
}

/** Checks a call that fails only through a bug of ours. @throws RuntimeError that begins with `internal:` */
export function expectSuccess(api: OrtApi, status: Pointer | null): void {
  const failure = takeFailure(api, status)
  if (failure) throw new RuntimeError(`internal: ONNX Runtime refused a call: ${failure.message}`)
}

const outOfMemory = /failed to allocate memory|bad_alloc|not enough memory|out of memory/i
const requestedBytes = /(?:buffer of size|size:?) *(\d+)/i

/** The error to throw for a failed compilation or run of a model. */
export function toRuntimeError(
  failure: Failure,
  origins: ReadonlyMap<string, Origin>,
  during: 'compile' | 'run',
): RuntimeError {
  const { message } = failure
  const origin = nodeOrigin(message, origins)
  const at = origin ? ` in ${formatOrigin(origin)}` : ''
  if (outOfMemory.test(message)) {
    const bytes = requestedBytes.exec(message)?.[1]
    const amount = bytes === undefined ? '' : `: cannot allocate another ${(Number(bytes) / 2 ** 20).toFixed(0)} MiB`
    return new RuntimeError(
      `out of memory${at}${amount} (use a smaller train.batch, more train.microBatches, a smaller model, or a larger machine)`,
    )
  }
  if (during === 'compile') return new RuntimeError(`internal: invalid graph${at}: ${message}`)
  return new RuntimeError(`failed to run${at}: ${message.replace(preamble, '')}`)
}

/** The beginning of the message of a failed kernel; we report op and layer instead. */
const preamble = /^Non-zero status code returned while running \S+ node\. Name:'[^']*' Status Message: /

/** An origin in messages, such as `softmax' of layers.0.attention`. */
function formatOrigin(origin: Origin): string {
  return origin.layer === '' ? origin.op : `${origin.op} of ${origin.layer}`
}

const nodeNames = [
  /\bNode, \("([^"]*)"/,
  /Name: ?'([^']*)'/,
  /\bnode with name '([^']*)'/,
  /\bNode:? ?\(([^)]*)\)/i,
  /\bNode:([^\s]+)/,
]

function nodeOrigin(message: string, origins: ReadonlyMap<string, Origin>): Origin | undefined {
  for (const pattern of nodeNames) {
    const name = pattern.exec(message)?.[1]
    const origin = name === undefined ? undefined : findOrigin(name, origins)
    if (origin) return origin
  }
  return undefined
}

/**
 * The origin of an ONNX node. ONNX Runtime names a fused node after its parts, so without an exact match the
 * longest known name inside `name` is used.
 */
export function findOrigin(name: string, origins: ReadonlyMap<string, Origin>): Origin | undefined {
  const exact = origins.get(name)
  if (exact) return exact
  let best = ''
  for (const known of origins.keys()) if (known.length > best.length && containsWhole(name, known)) best = known
  return origins.get(best)
}

/** Whether `name` contains `part`, not followed by a digit: `add_12` does not contain `add_1`. */
function containsWhole(name: string, part: string): boolean {
  const at = name.indexOf(part)
  return at >= 0 && !/^\d/.test(name.slice(at + part.length))
}
