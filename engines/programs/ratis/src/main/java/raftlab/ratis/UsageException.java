package raftlab.ratis;

/** A flag or a setting that is wrong; the message names it and says what would do. */
final class UsageException extends Exception {
  private static final long serialVersionUID = 1;

  UsageException(String message) {
    super(message);
  }
}
