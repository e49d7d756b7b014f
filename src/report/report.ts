/** A report: what was found, in words, with the tables and figures that show it. Analyses make it, renderers write it. */
import type { Block, Table } from './blocks.ts'

export interface Report {
  readonly title: string
  /** Lines under the title: what was done, with which data, on which machine. */
  readonly facts: readonly string[]
  /** The command that makes it again. */
  readonly command: string
  readonly sections: readonly Section[]
}

export interface Section {
  /** Names the anchor. `summary` is the section that opens the report; its verdicts may begin with a question. */
  readonly id: string
  readonly title: string
  readonly about: string
  /** The table that comes before all else in a section. */
  readonly lead?: Table
  /** What was found, in plain words; each a sentence. */
  readonly verdicts: readonly string[]
  readonly blocks: readonly Block[]
}
