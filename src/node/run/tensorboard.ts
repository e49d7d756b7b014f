/**
 * Writes the scalars of a run's records for TensorBoard. An event file is a sequence of TFRecords, each with a protobuf
 * `Event` (tensorflow/core/util/event.proto and framework/summary.proto; TFRecord framing as in
 * tensorflow/core/lib/io/record_writer.h).
 */
import { hostname } from 'node:os'
import { join } from 'node:path'
import { loadFields, telling } from '../../core/model/routing/statistics.ts'
import { describeMetric, metricName } from '../../core/text/metrics.ts'
import {
  doubleField,
  type Field,
  floatField,
  message,
  messageField,
  textField,
  varintField,
} from '../../core/text/protobuf.ts'
import { capacityScalars } from '../../train/run/capacity-scalars.ts'
import type { EvalRecord, RanksRecord, TrainRecord } from '../../train/step/metrics/records.ts'
import { AppendFile } from '../system/append-file.ts'
import { errorCode } from '../system/disk.ts'

export class RunEvents {
  private readonly file: AppendFile
  private readonly described = new Set<string>()

  private constructor(file: AppendFile) {
    this.file = file
  }

  get path(): string {
    return this.file.path
  }

  /**
   * Starts a new event file `events.out.tfevents.<seconds>.<host>` in a run's folder.
   * @param resumedFrom Step of the checkpoint that is continued: TensorBoard then discards later steps of
   *   earlier files, which will be repeated.
   */
  static async open(folder: string, resumedFrom?: number): Promise<RunEvents> {
    const now = Date.now() / 1000
    const host = hostname().replace(/[^\w.-]/g, '-')
    const name = `events.out.tfevents.${String(Math.floor(now)).padStart(10, '0')}.${host}`
    const events = new RunEvents(await openFresh(join(folder, name)))
    events.event(now, 0, textField(3, 'brain.Event:2'))
    // SessionLog with status START = 1.
    if (resumedFrom !== undefined) events.event(now, resumedFrom + 1, messageField(7, varintField(1, 1)))
    return events
  }

  /**
   * Queues the scalars of a record: `train/loss`, `routing/drop_rate`, `eval/dropless/loss` and so on. Records of a model
   * without experts have none of routing.
   * @param time Seconds since 1970.
   * @throws RunError if an earlier write failed
   */
  record(
    kind: 'train' | 'eval' | 'ranks',
    step: number,
    record: TrainRecord | EvalRecord | RanksRecord,
    time: number = Date.now() / 1000,
  ): void {
    const values = kind === 'eval' ? { ...record, ...capacityScalars({ ...record }) } : record
    const scalars = Object.entries(telling({ ...values })).flatMap(([name, value]) => {
      if (name === 'step' || typeof value !== 'number') return []
      const tag = `${kind === 'train' && loadFields.has(name) ? 'routing' : kind}/${name}`
      return [messageField(1, textField(1, tag), floatField(2, value), ...this.description(tag))]
    })
    this.event(time, step, messageField(5, ...scalars))
  }

  /** Waits until the operating system has every event. @throws RunError if a write failed */
  flush(): Promise<void> {
    return this.file.flush()
  }

  /** Writes queued events and closes the file. @throws RunError if a write failed */
  close(): Promise<void> {
    return this.file.close()
  }

  /** SummaryMetadata with the description of a metric, which TensorBoard takes from the first event of a tag. */
  private description(tag: string): Field[] {
    const text = this.described.has(tag) ? null : describeMetric(tag)
    this.described.add(tag)
    return text === null ? [] : [messageField(9, textField(3, `${metricName(tag)}: ${text}`))]
  }

  private event(time: number, step: number, content: Field): void {
    this.file.append(framed(message(doubleField(1, time), varintField(2, step), content)))
  }
}

/** Creates a file. Adds a suffix if the name is taken, so that two writers within a second get two files. */
async function openFresh(path: string): Promise<AppendFile> {
  for (let attempt = 0; ; attempt++) {
    try {
      return await AppendFile.open(attempt === 0 ? path : `${path}.${attempt}`, 'fresh')
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error
    }
  }
}

/** A TFRecord: length as uint64, masked checksum of the length, data, masked checksum of the data. */
function framed(data: Uint8Array): Buffer {
  const record = Buffer.alloc(12 + data.length + 4)
  record.writeUInt32LE(data.length, 0)
  record.writeUInt32LE(masked(crc32c(record.subarray(0, 8))), 8)
  record.set(data, 12)
  record.writeUInt32LE(masked(crc32c(data)), 12 + data.length)
  return record
}

/** Applies TFRecord's mask, because CRCs of data that contains CRCs would be unreliable. */
function masked(crc: number): number {
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0
}

const table = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1
  return crc
})

/** CRC-32C (Castagnoli), RFC 3720 appendix B.4. */
export function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff
  for (const byte of bytes) crc = (table[(crc ^ byte) & 255] as number) ^ (crc >>> 8)
  return (crc ^ 0xffffffff) >>> 0
}
