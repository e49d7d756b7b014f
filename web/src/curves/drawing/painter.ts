/**
 * Has lines painted in a worker: a crowd of them takes longer than a frame, and the page must not wait. One picture
 * is under way at a time, so of what a plot wants meanwhile only the newest is painted.
 */
import type { Line, Range } from './lines.ts'

export interface Picture {
  readonly lines: readonly Line[]
  readonly x: Range
  readonly y: Range
  readonly log: boolean
  /** In pixels of the picture, of which `unit` are one of the screen. */
  readonly size: { readonly width: number; readonly height: number }
  readonly unit: number
}

/** Null: the worker has failed. */
type Paint = (bitmap: ImageBitmap | null) => void

/** What is used of a `Worker`. */
export interface PaintWorker {
  postMessage(picture: Picture): void
  onmessage: ((message: MessageEvent<ImageBitmap>) => void) | null
  onerror: ((event: ErrorEvent) => void) | null
}

export class Painter {
  /** Nothing comes of a worker that cannot be loaded or has no canvas: what is to be seen must be painted otherwise. */
  hasFailed = false
  private readonly worker: PaintWorker
  /** By who wants it, in the order in which they began to wait. */
  private readonly wanted = new Map<object, { readonly picture: Picture; readonly paint: Paint }>()
  private painting: { readonly owner: object; readonly paint: Paint } | null = null

  constructor(worker: PaintWorker) {
    this.worker = worker
    worker.onmessage = ({ data }) => this.painted(data)
    worker.onerror = () => this.failed()
  }

  /** Calls `paint` with the picture, which is then the owner's to close, unless the owner wants another before. */
  want(owner: object, picture: Picture, paint: Paint): void {
    this.wanted.set(owner, { picture, paint })
    if (!this.painting) this.next()
  }

  forget(owner: object): void {
    this.wanted.delete(owner)
    if (this.painting?.owner === owner) this.painting = { owner, paint: (bitmap) => bitmap?.close() }
  }

  private next(): void {
    const [first] = this.wanted
    if (!first) return
    const [owner, { picture, paint }] = first
    this.wanted.delete(owner)
    this.painting = { owner, paint }
    this.worker.postMessage(picture)
  }

  private painted(bitmap: ImageBitmap): void {
    const painting = this.painting
    this.painting = null
    this.next()
    painting?.paint(bitmap)
  }

  private failed(): void {
    this.hasFailed = true
    const waiting = [...(this.painting ? [this.painting] : []), ...this.wanted.values()]
    this.painting = null
    this.wanted.clear()
    for (const { paint } of waiting) paint(null)
  }
}
