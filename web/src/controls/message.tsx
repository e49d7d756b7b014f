/** What stands where nothing can be shown (yet): why, and what to do. */
import type { ComponentChildren } from 'preact'

interface MessageProps {
  readonly title: string
  readonly children?: ComponentChildren
  /** Something failed: it is read out at once. */
  readonly bad?: boolean
}

export function Message({ title, children, bad }: MessageProps) {
  return (
    <div class={bad ? 'message message-bad' : 'message'} role={bad ? 'alert' : 'status'}>
      <p class="message-title">{title}</p>
      {children && <div class="message-text">{children}</div>}
    </div>
  )
}
