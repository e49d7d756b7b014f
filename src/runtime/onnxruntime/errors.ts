/**
 * ONNX Runtime's errors in the user's terms: which op of ours, in which layer of the model.
 *
 * A status is a heap object that whoever receives it must free. Its message names the ONNX node in one
 * of several phrasings; `Model.origins` tells where that node came from.
 */
import type { Origin } from '../../graph/model.ts'
import { RuntimeError } from '../contract.ts'
import type { Pointer } from '../ffi.ts'
import type { OrtApi } from './api.ts'

/** What a failed call says. */
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

/** For calls that only a bug of ours can make fail. */
export function expectSuccess(api: OrtApi, status: Pointer | null): void {
  const failure = takeFailure(api, status)
  if (failure) throw new RuntimeError(`internal: ONNX Runtime refused a call: ${failure.message}`)
}

const outOfMemory = /failed to allocate memory|bad_alloc|not enough memory|out of memory/i
const requestedBytes = /(?:buffer of size|size:?) *(\d+)/i

/** The error to throw for a failure while compiling or running a model. */
export function explain(
  failure: Failure,
  origins: ReadonlyMap<string, Origin>,
  during: 'compile' | 'run',
): RuntimeError {
  const { message } = failure
  const origin = nodeOrigin(message, origins)
  const at = origin ? ` in ${describe(origin)}` : ''
  if (outOfMemory.test(message)) {
    const bytes = requestedBytes.exec(message)?.[1]
    const amount = bytes === undefined ? '' : `: ${(Number(bytes) / 2 ** 20).toFixed(0)} MiB more could not be had`
    return new RuntimeError(
      `out of memory${at}${amount} (use a smaller train.batch, more train.microBatches, a smaller model, or a larger machine)`,
    )
  }
  if (during === 'compile') return new RuntimeError(`internal: invalid graph${at}: ${message}`)
  return new RuntimeError(`failed to run${at}: ${message.replace(preamble, '')}`)
}

/** What a failed kernel's message begins with; op and layer say it better. */
const preamble = /^Non-zero status code returned while running \S+ node\. Name:'[^']*' Status Message: /

/** An op and its layer as a reader knows them: `softmax' of layers.0.attention`. */
function describe(origin: Origin): string {
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
 * Origin of an ONNX node. ONNX Runtime renames a node that it fuses after the nodes it is made of, so
 * failing an exact match the longest known name inside `name` is taken.
 */
export function findOrigin(name: string, origins: ReadonlyMap<string, Origin>): Origin | undefined {
  const exact = origins.get(name)
  if (exact) return exact
  let best = ''
  for (const known of origins.keys()) if (known.length > best.length && containsWhole(name, known)) best = known
  return origins.get(best)
}

/** Whether `part` stands in `name` and is not cut out of a longer number: `add_1` is not in `add_12`. */
function containsWhole(name: string, part: string): boolean {
  const at = name.indexOf(part)
  return at >= 0 && !/^\d/.test(name.slice(at + part.length))
}
