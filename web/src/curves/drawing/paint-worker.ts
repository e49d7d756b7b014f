/** The worker that paints the pictures which `Painter` requests. */
import { type Frame, paint } from './paint.ts'
import type { Picture } from './painter.ts'
import { CanvasSurface } from './surface.ts'

self.onmessage = ({ data: { lines, x, y, log, size, unit } }: MessageEvent<Picture>) => {
  const canvas = new OffscreenCanvas(size.width, size.height)
  const context = canvas.getContext('2d')
  if (!context) throw new Error('this browser has no canvas for workers')
  const frame: Frame = { box: { left: 0, top: 0, ...size }, x, y, log }
  paint(new CanvasSurface(context), lines, frame, unit)
  const bitmap = canvas.transferToImageBitmap()
  self.postMessage(bitmap, { transfer: [bitmap] })
}
