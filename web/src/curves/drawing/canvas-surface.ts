/** Draws on a canvas, in the canvas's own pixels. */
import { type Box, fontFamily, type Stroke, type Surface, type TextStyle } from './surface.ts'

type Context = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D

export class CanvasSurface implements Surface {
  private readonly canvas: Context

  constructor(canvas: Context) {
    this.canvas = canvas
  }

  line(points: readonly number[], { color, width, dash = [], opacity = 1 }: Stroke): void {
    const canvas = this.canvas
    canvas.globalAlpha = opacity
    if (points.length === 2) {
      canvas.fillStyle = color
      canvas.beginPath()
      canvas.arc(points[0] as number, points[1] as number, width * 1.2, 0, 2 * Math.PI)
      canvas.fill()
    } else {
      canvas.strokeStyle = color
      canvas.lineWidth = width
      canvas.lineJoin = 'round'
      canvas.setLineDash(dash as number[])
      this.trace(points)
      canvas.stroke()
      canvas.setLineDash([])
    }
    canvas.globalAlpha = 1
  }

  area(points: readonly number[], color: string, opacity: number): void {
    this.canvas.globalAlpha = opacity
    this.canvas.fillStyle = color
    this.trace(points)
    this.canvas.fill()
    this.canvas.globalAlpha = 1
  }

  box({ left, top, width, height }: Box, color: string): void {
    this.canvas.fillStyle = color
    this.canvas.fillRect(left, top, width, height)
  }

  text(text: string, x: number, y: number, { color, size, anchor, bold = false, upward = false }: TextStyle): void {
    const canvas = this.canvas
    canvas.save()
    canvas.fillStyle = color
    canvas.font = `${bold ? '600 ' : ''}${size}px ${fontFamily}`
    canvas.textAlign = anchor === 'middle' ? 'center' : anchor
    canvas.translate(x, y)
    if (upward) canvas.rotate(-Math.PI / 2)
    canvas.fillText(text, 0, 0)
    canvas.restore()
  }

  clipTo({ left, top, width, height }: Box, draw: () => void): void {
    this.canvas.save()
    this.canvas.beginPath()
    this.canvas.rect(left, top, width, height)
    this.canvas.clip()
    draw()
    this.canvas.restore()
  }

  private trace(points: readonly number[]): void {
    this.canvas.beginPath()
    this.canvas.moveTo(points[0] ?? 0, points[1] ?? 0)
    for (let i = 2; i < points.length; i += 2) this.canvas.lineTo(points[i] as number, points[i + 1] as number)
  }
}
