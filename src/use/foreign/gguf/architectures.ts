/**
 * Architectures of llama.cpp that Choir computes: the parts of their computation that follow from the name alone, and
 * are not in the metadata of a file.
 */
import type { ModelConfig } from '../../../core/model/config.ts'

export interface GgufArchitecture {
  /** Whether neighbours (x[2i], x[2i + 1]) are rotated, instead of halves (x[i], x[i + d/2]). */
  readonly isInterleaved: boolean
  readonly queryKeyNorm: ModelConfig['queryKeyNorm']
  /** Whether the gates of a token are divided by their sum. */
  readonly renormalize: boolean
}

export const ggufArchitectures: Readonly<Record<string, GgufArchitecture>> = {
  llama: { isInterleaved: true, queryKeyNorm: 'none', renormalize: true },
  granite: { isInterleaved: true, queryKeyNorm: 'none', renormalize: true },
  granitemoe: { isInterleaved: true, queryKeyNorm: 'none', renormalize: true },
  qwen2: { isInterleaved: false, queryKeyNorm: 'none', renormalize: false },
  qwen2moe: { isInterleaved: false, queryKeyNorm: 'none', renormalize: false },
  qwen3: { isInterleaved: false, queryKeyNorm: 'head', renormalize: false },
  qwen3moe: { isInterleaved: false, queryKeyNorm: 'head', renormalize: true },
  olmoe: { isInterleaved: false, queryKeyNorm: 'width', renormalize: false },
}
