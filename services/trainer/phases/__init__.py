"""What a run goes through, and what each phase looks at: VALIDATE, TRAIN and REGISTER."""
