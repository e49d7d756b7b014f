/**
 * Lets a worker paint lines, because very many lines take longer than a frame. It paints one picture at a time; of the
 * pictures that a plot requests meanwhile, only the newest is painted.
 */
import type { Line, Range } from './lines.ts'

export interface Picture {
  readonly lines: readonly Line[]
  readonly x: Range
  readonly y: Range
  readonly log: boolean
  /** Size in pixels of the picture; `unit` of these pixels are one pixel of the page. */
  readonly size: { readonly width: number; readonly height: number }
  readonly unit: number
}

/** Receives the picture; null if the worker failed. */
type OnPainted = (bitmap: ImageBitmap | null) => void

/** The part of `Worker` that is used here. */
export interface PaintWorker {
  postMessage(picture: Picture): void
  onmessage: ((message: MessageEvent<ImageBitmap>) => void) | null
  onerror: ((event: ErrorEvent) => void) | null
}

export class Painter {
  /** Whether there is no worker, it could not be loaded or has no canvas, so that the page must paint by itself. */
  hasFailed = false
  private readonly worker: PaintWorker | null
  /** Waiting pictures by owner, in order of request. */
  private readonly requested = new Map<object, { readonly picture: Picture; readonly onPainted: OnPainted }>()
  private painting: { readonly owner: object; readonly onPainted: OnPainted } | null = null

  constructor(worker: PaintWorker | null) {
    this.worker = worker
    if (!worker) {
      this.hasFailed = true
      return
    }
    worker.onmessage = ({ data }) => this.painted(data)
    worker.onerror = () => this.failed()
  }

  /**
   * Calls `onPainted` with the picture, unless the owner cancels, or requests another before the worker begins with
   * this one. The owner must close the bitmap.
   */
  request(owner: object, picture: Picture, onPainted: OnPainted): void {
    this.requested.set(owner, { picture, onPainted })
    if (!this.painting) this.next()
  }

  cancel(owner: object): void {
    this.requested.delete(owner)
    if (this.painting?.owner === owner) this.painting = { owner, onPainted: (bitmap) => bitmap?.close() }
  }

  private next(): void {
    const [first] = this.requested
    if (!first) return
    const [owner, { picture, onPainted }] = first
    this.requested.delete(owner)
    this.painting = { owner, onPainted }
    this.worker?.postMessage(picture)
  }

  private painted(bitmap: ImageBitmap): void {
    const painting = this.painting
    this.painting = null
    this.next()
    painting?.onPainted(bitmap)
  }

  private failed(): void {
    this.hasFailed = true
    const waiting = [...(this.painting ? [this.painting] : []), ...this.requested.values()]
    this.painting = null
    this.requested.clear()
    for (const { onPainted } of waiting) onPainted(null)
  }
}
