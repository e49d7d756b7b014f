/**
 * Records of Megatron-Core's router traces: JSON Lines, one file per rank, one record per step, block and layer, with
 * the experts that every token of the rank chose:
 *
 *     {"step": 0, "stage": "pre_dispatch", "block": "decoder", "layer": 3, "rank": 0, "num_tokens": 128, "topk": 2,
 *      "top_indices": [[12, 45], ...]}
 *
 * Records of multi-token prediction also have `mtp_idx`. (docs.nvidia.com/megatron-core, API guide,
 * core.transformer.moe.router_trace.)
 */
import { basename } from 'node:path'
import type { RouterInfo, TokenRouter, TokenTrace } from '../api.ts'
import { readInside } from './confined.ts'
import { parseObject } from './routing-log.ts'

export interface TraceRecord {
  readonly layer: number
  readonly module: string
  /** Experts of each token; -1 for padding. */
  readonly chosen: readonly (readonly number[])[]
}

/** Reads the fields of a line; undefined if it is not a record, or repeats another. */
export function traceRecord(record: Record<string, unknown> | undefined): TraceRecord | undefined {
  const { layer, block, stage, mtp_idx: prediction, top_indices: chosen } = record ?? {}
  if (typeof layer !== 'number' || !Number.isFinite(layer) || !Array.isArray(chosen)) return undefined
  // Counting another stage of the same dispatch would count its tokens twice.
  if (stage !== undefined && stage !== 'pre_dispatch') return undefined
  if (!chosen.every((experts) => Array.isArray(experts) && experts.every(isExpert))) return undefined
  const name = typeof block === 'string' ? block.slice(0, 100) : 'decoder'
  return { layer, module: typeof prediction === 'number' ? `mtp-${prediction}` : name, chosen }
}

const isExpert = (value: unknown): boolean => Number.isInteger(value) && Number(value) >= -1

/** Bytes read to recognise a trace. In a longer first record, the field names still come before the numbers. */
const HEAD_BYTES = 64 << 10

/** Whether a file is a router trace, judged by its name and first line. */
export async function isRouterTrace(root: string, path: string): Promise<boolean> {
  if (!basename(path).endsWith('.jsonl')) return false
  const head = (await readInside(root, path, HEAD_BYTES))?.toString() ?? ''
  const end = head.indexOf('\n')
  if (end < 0) return head.startsWith('{"step":') && head.includes('"layer":') && head.includes('"top_indices":')
  const record = parseObject(Buffer.from(head.slice(0, end)))
  return typeof record?.layer === 'number' && Array.isArray(record.top_indices)
}

const MAX_TOKENS = 4096
const MAX_CHOICES = 4_000_000

/**
 * The tokens of one step of a trace. Each rank records its own tokens: ranks that share a layer hold different
 * tokens, which are concatenated in the order of the files; ranks of other pipeline stages hold other layers of the
 * same tokens. A trace has no text, so tokens are identified by position.
 */
export function recordedTokens(
  run: string,
  step: number,
  routers: readonly RouterInfo[],
  records: readonly TraceRecord[],
): TokenTrace {
  const chosen = routers.map(({ layer, module }) =>
    records.filter((record) => record.layer === layer && record.module === module).flatMap((record) => record.chosen),
  )
  const counts = chosen.map(({ length }) => length).filter((count) => count > 0)
  // If ranks stopped within a step, only tokens that every router has seen are shown.
  const all = counts.length > 0 ? Math.min(...counts) : 0
  const choices = chosen.reduce((sum, tokens) => sum + maxChoices(tokens), 0)
  // Rows are padded to the longest, so one token with very many choices would widen all of them.
  const tokens = Math.min(all, MAX_TOKENS, Math.floor(MAX_CHOICES / Math.max(1, choices)))
  return {
    run,
    step,
    loss: null,
    tokens: Array.from({ length: tokens }, () => ''),
    cut: all > tokens,
    routers: routers.flatMap((router, index) => ofRouter(router, (chosen[index] ?? []).slice(0, tokens))),
  }
}

/** The choices of the tokens by one router; empty if this step does not have the router. */
function ofRouter(router: RouterInfo, chosen: readonly (readonly number[])[]): TokenRouter[] {
  const choices = maxChoices(chosen)
  if (choices === 0) return []
  const expert = chosen.flatMap((experts) => Array.from({ length: choices }, (_, choice) => experts[choice] ?? -1))
  return [{ ...router, choices, expert, gate: null }]
}

const maxChoices = (chosen: readonly (readonly number[])[]): number =>
  chosen.reduce((max, { length }) => Math.max(max, length), 0)
