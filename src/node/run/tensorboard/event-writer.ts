/**
 * Writes summaries for TensorBoard. An event file is a sequence of TFRecords, each with a protobuf `Event`
 * (tensorflow/core/util/event.proto and framework/summary.proto; TFRecord framing as in
 * tensorflow/core/lib/io/record_writer.h).
 */
import { hostname } from 'node:os'
import { join } from 'node:path'
import { describeMetric, metricName } from '../../../core/text/metrics.ts'
import {
  bytesField,
  doubleField,
  type Field,
  floatField,
  message,
  messageField,
  textField,
  varintField,
} from '../../../core/text/protobuf.ts'
import { AppendFile } from '../../system/append-file.ts'
import { errorCode } from '../../system/disk.ts'
import { histogram } from './histogram.ts'
import type { HParamsSummary } from './hparams.ts'

/** A tensor without numbers, which is the value of summaries that consist of metadata. */
const NOTHING = message(varintField(1, 1), messageField(2, messageField(2)))

export class EventWriter {
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
  static async open(folder: string, resumedFrom?: number): Promise<EventWriter> {
    const now = Date.now() / 1000
    const host = hostname().replace(/[^\w.-]/g, '-')
    const name = `events.out.tfevents.${String(Math.floor(now)).padStart(10, '0')}.${host}`
    const writer = new EventWriter(await openFresh(join(folder, name)))
    writer.event(now, 0, textField(3, 'brain.Event:2'))
    // SessionLog with status START = 1.
    if (resumedFrom !== undefined) writer.event(now, resumedFrom + 1, messageField(7, varintField(1, 1)))
    return writer
  }

  /**
   * Queues the scalars of a step, e.g. `{ 'train/loss': 3.2, 'routing/load_cv': 0.4 }`.
   * @param time Seconds since 1970.
   * @throws RunError if an earlier write failed
   */
  scalars(step: number, values: Readonly<Record<string, number>>, time: number = Date.now() / 1000): void {
    this.summary(
      time,
      step,
      Object.entries(values).map(([tag, value]) => [textField(1, tag), floatField(2, value), ...this.description(tag)]),
    )
  }

  /** Queues a histogram of numbers for each tag. @throws RunError if an earlier write failed */
  histograms(step: number, values: Readonly<Record<string, readonly number[]>>): void {
    this.summary(
      Date.now() / 1000,
      step,
      Object.entries(values).map(([tag, numbers]) => [textField(1, tag), bytesField(5, histogram(numbers))]),
    )
  }

  /** Queues summaries for the HPARAMS page. @throws RunError if an earlier write failed */
  hparams(step: number, summaries: readonly HParamsSummary[]): void {
    this.summary(
      Date.now() / 1000,
      step,
      summaries.map(([tag, metadata]) => [textField(1, tag), bytesField(8, NOTHING), bytesField(9, metadata)]),
    )
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

  private summary(time: number, step: number, values: readonly (readonly Field[])[]): void {
    this.event(time, step, messageField(5, ...values.map((fields) => messageField(1, ...fields))))
  }

  private event(time: number, step: number, content: Field): void {
    this.file.append(record(message(doubleField(1, time), varintField(2, step), content)))
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
function record(data: Uint8Array): Buffer {
  const framed = Buffer.alloc(12 + data.length + 4)
  framed.writeUInt32LE(data.length, 0)
  framed.writeUInt32LE(masked(crc32c(framed.subarray(0, 8))), 8)
  framed.set(data, 12)
  framed.writeUInt32LE(masked(crc32c(data)), 12 + data.length)
  return framed
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
