/** Keeps a fault of ours to where it is: the rest of the page stays, and the person can go on. */

import { Component, type ReactNode } from "react";

interface BoundaryProps {
  readonly children: ReactNode;
  /** What is shown instead. */
  readonly instead: ReactNode;
}

export class Boundary extends Component<BoundaryProps, { readonly hasFailed: boolean }> {
  override state = { hasFailed: false };

  static getDerivedStateFromError(): { readonly hasFailed: boolean } {
    return { hasFailed: true };
  }

  override render(): ReactNode {
    return this.state.hasFailed ? this.props.instead : this.props.children;
  }
}
