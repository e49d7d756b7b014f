/** The display for programs: every event as it is, a line each. */
import type { TrainEvent } from '../../train/events.ts'
import { type Io, writeJson } from '../io.ts'
import type { Display } from './display.ts'

export class JsonDisplay implements Display {
  private readonly io: Io

  constructor(io: Io) {
    this.io = io
  }

  event(event: TrainEvent): void {
    writeJson(this.io, event)
  }

  note(text: string): void {
    this.io.stderr.write(`choir: ${text}\n`)
  }

  close(): void {}
}
