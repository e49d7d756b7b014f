/**
 * Records of Megatron-Core's router traces: JSON Lines, a file a rank, a record a step, block and layer with the
 * experts that every token of the rank chose:
 *
 *     {"step": 0, "stage": "pre_dispatch", "block": "decoder", "layer": 3, "rank": 0, "num_tokens": 128, "topk": 2,
 *      "top_indices": [[12, 45], ...]}
 *
 * Records of multi-token prediction carry `mtp_idx` beside. (docs.nvidia.com/megatron-core, API guide,
 * core.transformer.moe.router_trace.)
 */
import { basename } from 'node:path'
import { readInside } from '../runs/confined.ts'
import { parsed } from '../runs/routing-history.ts'

/** What a record says of its router. */
export interface TraceRecord {
  readonly layer: number
  readonly module: string
  /** Experts of each token; -1 for a choice not made. */
  readonly chosen: readonly (readonly number[])[]
}

/** The record in the fields of a line; undefined when it is none, or repeats another. */
export function traceRecord(record: Record<string, unknown> | undefined): TraceRecord | undefined {
  const { layer, block, stage, mtp_idx: prediction, top_indices: chosen } = record ?? {}
  if (typeof layer !== 'number' || !Number.isFinite(layer) || !Array.isArray(chosen)) return undefined
  // Another stage of the same dispatch would count its tokens twice.
  if (stage !== undefined && stage !== 'pre_dispatch') return undefined
  if (!chosen.every((experts) => Array.isArray(experts) && experts.every(isExpert))) return undefined
  const name = typeof block === 'string' ? block.slice(0, 100) : 'decoder'
  return { layer, module: typeof prediction === 'number' ? `mtp-${prediction}` : name, chosen }
}

const isExpert = (value: unknown): boolean => Number.isInteger(value) && Number(value) >= -1

/** Enough for the first record of a trace of some thousand tokens, whose names come before its numbers. */
const HEAD = 64 << 10

/** Whether a file holds a router trace, by its name and its first line. */
export async function isRouterTrace(root: string, path: string): Promise<boolean> {
  if (!basename(path).endsWith('.jsonl')) return false
  const head = (await readInside(root, path, HEAD))?.toString() ?? ''
  const end = head.indexOf('\n')
  if (end < 0) return head.startsWith('{"step":') && head.includes('"layer":') && head.includes('"top_indices":')
  const record = parsed(Buffer.from(head.slice(0, end)))
  return typeof record?.layer === 'number' && Array.isArray(record.top_indices)
}
