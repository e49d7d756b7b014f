/**
 * Adds up an evaluation by groups of documents. A target belongs to the document that contains it.
 *
 * The losses of a batch are added first, on the rank that computed it; then batches are added in their order. So sums
 * have the same bits on any number of ranks. Every rank counts the targets of all batches, whose text it has.
 */

import type { CapacityRule } from '../../../core/model/routing/contract.ts'
import type { BatchShape } from '../../data/batches.ts'
import type { DocumentGroups } from '../../data/document-groups.ts'
import type { DocumentLosses, DomainEvaluation } from '../metrics/records.ts'
import { byRule } from './capacity-rules.ts'

export class DocumentSums {
  private readonly groups: DocumentGroups
  private readonly shape: BatchShape
  private readonly bytesOf: Int32Array
  /** The group of each target of the batch [T]; -1 for targets that do not count. */
  private readonly group: Int32Array
  private readonly tokens: Float64Array
  private readonly bytes: Float64Array

  /** @param bytesOf [vocabulary] Number of UTF-8 bytes of each token. */
  constructor(groups: DocumentGroups, shape: BatchShape, bytesOf: Int32Array) {
    this.groups = groups
    this.shape = shape
    this.bytesOf = bytesOf
    this.group = new Int32Array(shape.batch * shape.sequence)
    this.tokens = new Float64Array(groups.groups)
    this.bytes = new Float64Array(groups.groups)
  }

  /** Adds the targets of a batch. @param starts [batch] Position in the stream of the first token of each row. */
  add(targets: Int32Array, starts: readonly number[]): void {
    const { group, tokens, bytes, bytesOf } = this
    const { sequence } = this.shape
    // The target of a position is the token after it.
    for (const [row, start] of starts.entries())
      this.groups.read(start + 1, group.subarray(row * sequence, (row + 1) * sequence))
    for (const [i, target] of targets.entries()) {
      if (target < 0) group[i] = -1
      const g = group[i] as number
      if (g < 0) continue
      tokens[g] = (tokens[g] as number) + 1
      bytes[g] = (bytes[g] as number) + (bytesOf[target] ?? 0)
    }
  }

  /** The losses of the batch that was added last, by group. @param losses [T] Nats of each target. */
  natsOf(losses: Float32Array): Float64Array {
    const nats = new Float64Array(this.groups.groups)
    for (const [i, g] of this.group.entries()) if (g >= 0) nats[g] = (nats[g] as number) + (losses[i] as number)
    return nats
  }

  /**
   * @param nats Nats of each group under each rule, over all batches; rules that share a program have the same array.
   */
  records(nats: Readonly<Record<CapacityRule, Float64Array>>): {
    readonly documents: DocumentLosses
    readonly domains?: readonly DomainEvaluation[]
  } {
    const { documents, domains } = this.groups
    const evaluated = this.domains(nats).filter(({ evaluated_tokens }) => evaluated_tokens > 0)
    return {
      documents: {
        documents,
        groups: domains.map(({ groups }) => groups),
        tokens: [...this.tokens],
        nats: {
          train: [...nats.train],
          ...(nats.eval !== nats.train && { eval: [...nats.eval] }),
          ...(nats.none !== nats.train && { none: [...nats.none] }),
        },
      },
      ...(evaluated.length > 1 && { domains: evaluated }),
    }
  }

  private domains(nats: Readonly<Record<CapacityRule, Float64Array>>): DomainEvaluation[] {
    let first = 0
    return this.groups.domains.map(({ name, groups }) => {
      const from = first
      first += groups
      const total = (values: Float64Array) => values.subarray(from, first).reduce((sum, value) => sum + value, 0)
      const tokens = total(this.tokens)
      return {
        name,
        evaluated_tokens: tokens,
        evaluated_bytes: total(this.bytes),
        losses: byRule((rule) => total(nats[rule]) / tokens),
      }
    })
  }
}
