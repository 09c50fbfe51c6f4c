"""Operations beside inference: the workspace."""
