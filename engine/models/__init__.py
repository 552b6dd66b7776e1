"""The owner's models: looked at before they are loaded, downloaded by a job, kept in the home folder."""
