/** A modal dialog. The browser keeps the focus inside, closes it on Escape, and then restores the focus. */
import type { ComponentChildren } from 'preact'
import { useLayoutEffect, useRef } from 'preact/hooks'
import { Icon } from './icon.tsx'

export interface DialogProps {
  readonly title: string
  readonly close: () => void
  /** Whether the dialog fills nearly the whole window. */
  readonly large?: boolean
  readonly children: ComponentChildren
}

export function Dialog({ title, close, large = false, children }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null)
  // Before the first paint: until it is shown as a modal dialog, Escape does not close it.
  useLayoutEffect(() => {
    dialog.current?.showModal()
  }, [])
  return (
    <dialog
      ref={dialog}
      class={large ? 'dialog large' : 'dialog'}
      aria-label={title}
      onClose={close}
      // A click on the backdrop is a click on the element itself.
      onPointerDown={(event) => event.target === event.currentTarget && close()}
    >
      <header>
        <h2>{title}</h2>
        <button type="button" class="quiet" aria-label="Close" onClick={close}>
          <Icon name="close" />
        </button>
      </header>
      <div class="dialog-body">{children}</div>
    </dialog>
  )
}
